"""Since when what could be sent out, or is with the broker, waits for a worker."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, func, or_

from scheduler.database.tables import Reproduction
from scheduler.state_machine import WAITING


def longest_waiting_since(at: datetime) -> ColumnElement[datetime | None]:
    """Since when that reproduction of a group waits which has waited for longest at a time; null where none does."""
    # Not what waits for its next try, or for the operator.
    waits = and_(
        Reproduction.state.in_(WAITING),
        or_(Reproduction.not_before.is_(None), Reproduction.not_before <= at),
        ~Reproduction.set_aside,
    )
    # Not by its age: one that was handed back after hours of work waits from then on. Nor by its state's, which is
    # another once it is with the broker, behind what runs.
    return func.min(case((waits, func.coalesce(Reproduction.waits_since, Reproduction.since))))
