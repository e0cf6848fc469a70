"""Which reproductions of a pool may be sent out."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_

from scheduler.database.tables import Reproduction, now
from scheduler.machine import ReproductionState


def is_ready(pool: str) -> tuple[ColumnElement[bool], ...]:
    """Conditions: queued, and not backing off after a failed attempt."""
    return (
        Reproduction.pool == pool,
        Reproduction.state == ReproductionState.QUEUED,
        or_(Reproduction.not_before.is_(None), Reproduction.not_before <= now()),
    )
