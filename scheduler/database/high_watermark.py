"""The high-water mark of the record: up to which event it is complete.

PostgreSQL hands out ids before commit, so a later id may be seen before an earlier one: whoever follows by id would
miss it. A gap among the newest ids may yet be filled as long as somebody writes the record who began before the event
that follows the gap; what comes after it waits. One transaction sees the writers before it looks at the record: who
commits in between is seen in one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from scheduler.database.tables import Event, now
from scheduler.settings import CLOCKS_DIFFER_SECONDS

SETTLING = timedelta(seconds=CLOCKS_DIFFER_SECONDS)
"""By how much clocks of the farm's machines may differ, and how long before its id an event may have got its time."""

WAITED_AT_MOST = timedelta(minutes=10)
"""For a writer that does not come to its end. Longer than any of the farm's transactions takes."""

READ_AT_ONCE = 1000

# Who inserts holds this lock from before the first id until the end, and everybody may see it. When its transaction
# began is only shown to its own role and to members of pg_read_all_stats.
_OLDEST_WRITER = text(
    "SELECT extract(epoch FROM clock_timestamp() - min(activity.xact_start))"
    " FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)"
    " WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted AND pid <> pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = to_regclass(:table)"
)


def young_since(session: Session) -> datetime:
    """From when on events are young: a gap before one of them may still be filled. Ask before the events are read."""
    at = now()
    return max(at - _oldest_writer_age(session) - SETTLING, at - WAITED_AT_MOST)


def _oldest_writer_age(session: Session) -> timedelta:
    if session.get_bind().dialect.name != "postgresql":
        # SQLite has one writer at a time.
        return timedelta(0)
    seconds = session.execute(_OLDEST_WRITER, {"table": Event.__tablename__}).scalar_one()
    return timedelta(seconds=float(seconds or 0))


def high_watermark(session: Session) -> int:
    """The last id up to which no event can still appear; 0 where there is none."""
    young = young_since(session)
    found: int | None = None
    for (later, at), (earlier, _) in pairwise(_newest_first(session)):
        found = later if found is None else found
        if at < young:
            break
        if later != earlier + 1:
            found = earlier
    return found or 0


def _newest_first(session: Session) -> Iterator[tuple[int, datetime]]:
    """Ids and times of events, read as far as somebody asks; 0, which none has, comes last."""
    newest = select(Event.event_id, Event.at).order_by(Event.event_id.desc()).limit(READ_AT_ONCE)
    part = session.execute(newest).all()
    while part:
        for event_id, at in part:
            yield event_id, at
        part = session.execute(newest.where(Event.event_id < event_id)).all()
    yield 0, now()


def settled_after(last: int, following: Sequence[Event], young: datetime) -> list[Event]:
    """Of the events that follow `last`, by id, those before the first gap that may still be filled.

    Args:
        last: The id behind which they follow.
        following: In the order of their ids.
        young: What `young_since` said before they were read.
    """
    found: list[Event] = []
    for event in following:
        if event.event_id != last + 1 and event.at >= young:
            break
        found.append(event)
        last = event.event_id
    return found
