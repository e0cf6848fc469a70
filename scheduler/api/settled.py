"""Up to which event the record is complete.

PostgreSQL hands out ids before commit, so a later id may be seen before an earlier one: whoever follows by id would
miss it. A gap among the newest ids that is still young may yet be filled; what comes after it waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.tables import Event, now

SETTLING = timedelta(seconds=10)
"""Longer than any of the farm's transactions takes."""

LOOKED_BACK = 1000


def settled(session: Session) -> int | None:
    """The last id before which no event can still appear; None where that is so for all."""
    newest = session.execute(select(Event.event_id, Event.at).order_by(Event.event_id.desc()).limit(LOOKED_BACK)).all()
    young = now() - SETTLING
    found: int | None = None
    for later, earlier in pairwise(newest):
        if later.at < young:
            break
        if later.event_id != earlier.event_id + 1:
            found = earlier.event_id
    return found


def settled_after(last: int, following: Sequence[Event], at: datetime) -> list[Event]:
    """Of the events that follow `last`, by id, those before the first young gap at the time `at`."""
    found: list[Event] = []
    for event in following:
        if event.event_id != last + 1 and event.at >= at - SETTLING:
            break
        found.append(event)
        last = event.event_id
    return found
