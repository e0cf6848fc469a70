"""The discussions and pull requests on the Hub in which somebody may speak to the farm, as they come to be known."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from scheduler.database.tables import Thread

NOT_YET = datetime(1970, 1, 1, tzinfo=UTC)
"""When a thread was looked at in which nobody has looked: before all others."""


def enter(session: Session, model_id: str, number: int) -> None:
    """Have a thread read in its turn; part of the caller's transaction."""
    if session.get(Thread, (model_id, number)) is None:
        session.add(Thread(model_id=model_id, number=number, looked_at=NOT_YET))
