"""Messages are rows first.

A state change and the messages it causes commit together; only then are they sent, and again until they were. A
message that is sent twice costs work and changes no verdict: attempts are fenced by their numbers, and the rest is
idempotent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import Row, bindparam, delete, select, update
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import OutboxRow, new_id, now

KEPT = timedelta(hours=24)
"""Sent messages stay so long, for whoever has to understand what happened."""

RELAYED_AT_ONCE = 500

MARKED_AT_ONCE = 20
"""Messages that are marked as sent in one transaction; so many may go out twice where a process dies in between."""


class Send(Protocol):
    """Hands one message to the broker; raises where the broker did not take it."""

    def __call__(self, *, task: str, queue: str, message_id: str, body: dict[str, Any]) -> None:
        """Send it."""


def put(session: Session, *, queue: str, task: str, body: dict[str, Any], message_id: str | None = None) -> None:
    """Have a message sent once the caller's transaction is committed."""
    session.add(OutboxRow(message_id=message_id or new_id(), queue=queue, task=task, body=body))


def put_again(session: Session, *, queue: str, task: str, body: dict[str, Any], message_id: str) -> None:
    """Have a message sent once more, in the place of the one that went out under that id, if any is left."""
    row = session.get(OutboxRow, message_id, with_for_update=True)
    if row is None:
        put(session, queue=queue, task=task, body=body, message_id=message_id)
    else:
        row.body, row.created_at, row.sent_at = body, now(), None


def relay(database: Database, send: Send) -> int:
    """Send what is unsent, oldest first; returns how many went out.

    A broker that is away raises out of here; what was not sent stays for the next relay.
    """
    with database.looking() as session:
        unsent = session.scalars(_UNSENT).all()
    slices = (unsent[first : first + MARKED_AT_ONCE] for first in range(0, len(unsent), MARKED_AT_ONCE))
    return sum(_relay_some(database, send, names) for names in slices)


def _relay_some(database: Database, send: Send, names: Sequence[str]) -> int:
    if database.is_sqlite:
        # It has one lock for everybody, which nobody may keep while the broker is waited for. Of two control workers on
        # one file, both may send the same.
        with database.looking() as session:
            rows = session.execute(_NAMED, {"names": names}).all()
        sent, failure = _hand_over(rows, send)
        with database.transaction() as session:
            _mark(session, sent)
    else:
        with database.transaction() as session:
            # What another control worker is sending is left to it: a batch that goes out twice is run twice until a
            # heartbeat of one of both is answered.
            rows = session.execute(_NAMED.with_for_update(skip_locked=True), {"names": names}).all()
            sent, failure = _hand_over(rows, send)
            _mark(session, sent)
    if failure is not None:
        raise failure
    return len(sent)


def _hand_over(rows: Sequence[Row[str, str, str, dict[str, Any]]], send: Send) -> tuple[list[str], Exception | None]:
    """The ids of what the broker took, and why not more."""
    sent: list[str] = []
    try:
        for row in rows:
            send(task=row.task, queue=row.queue, message_id=row.message_id, body=row.body)
            sent.append(row.message_id)
    except Exception as error:  # noqa: BLE001 - raised once it is written down what went out
        return sent, error
    return sent, None


def _mark(session: Session, sent: Sequence[str]) -> None:
    if sent:
        session.execute(update(OutboxRow).where(OutboxRow.message_id.in_(sent)).values(sent_at=now()))


_UNSENT = (
    select(OutboxRow.message_id)
    .where(OutboxRow.sent_at.is_(None))
    .order_by(OutboxRow.created_at)
    .limit(RELAYED_AT_ONCE)
)
_NAMED = (
    select(OutboxRow.message_id, OutboxRow.queue, OutboxRow.task, OutboxRow.body)
    .where(OutboxRow.message_id.in_(bindparam("names", expanding=True)), OutboxRow.sent_at.is_(None))
    .order_by(OutboxRow.created_at)
)


def tidy(database: Database) -> None:
    """Drop messages that were sent long ago."""
    with database.transaction() as session:
        session.execute(delete(OutboxRow).where(OutboxRow.sent_at < now() - KEPT))
