"""Messages are rows first.

A state change and the messages it causes commit together; only then are they sent, and again until they were. A
message that is sent twice is harmless: attempts are fenced by their numbers, and the rest is idempotent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import delete, select, update
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


def relay(database: Database, send: Send) -> int:
    """Send what is unsent, oldest first; returns how many went out.

    A broker that is away raises out of here; what was not sent stays for the next relay.
    """
    with database.looking() as session:
        unsent = session.execute(_UNSENT).all()
    for first in range(0, len(unsent), MARKED_AT_ONCE):
        sent: list[str] = []
        try:
            for row in unsent[first : first + MARKED_AT_ONCE]:
                send(task=row.task, queue=row.queue, message_id=row.message_id, body=row.body)
                sent.append(row.message_id)
        finally:
            if sent:
                with database.transaction() as session:
                    session.execute(update(OutboxRow).where(OutboxRow.message_id.in_(sent)).values(sent_at=now()))
    return len(unsent)


_UNSENT = (
    select(OutboxRow.message_id, OutboxRow.queue, OutboxRow.task, OutboxRow.body)
    .where(OutboxRow.sent_at.is_(None))
    .order_by(OutboxRow.created_at)
    .limit(RELAYED_AT_ONCE)
)


def tidy(database: Database) -> None:
    """Drop messages that were sent long ago."""
    with database.transaction() as session:
        session.execute(delete(OutboxRow).where(OutboxRow.sent_at < now() - KEPT))
