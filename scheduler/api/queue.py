"""Where reproductions are in the queues of their pools."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from scheduler.database.tables import Reproduction
from scheduler.machine import ReproductionState

WAITING = (ReproductionState.QUEUED, ReproductionState.DISPATCHED)

WITHOUT_BULK = (defer(Reproduction.measurement, raiseload=True), defer(Reproduction.settings, raiseload=True))
"""For queries of many: a measurement holds the score of every sample."""


def positions(session: Session, reproductions: Iterable[Reproduction]) -> dict[str, int]:
    """Place in its pool's queue, from 1, of each of `reproductions` that waits there."""
    waiting = [row for row in reproductions if row.state in WAITING]
    if not waiting:
        return {}
    # Dispatched ones are with the broker already, ahead of all that is queued.
    order = (
        Reproduction.state == ReproductionState.QUEUED,
        Reproduction.priority,
        Reproduction.created_at,
        Reproduction.reproduction_id,
    )
    numbered = (
        select(
            Reproduction.reproduction_id,
            func.row_number().over(partition_by=Reproduction.pool, order_by=order).label("position"),
        )
        .where(Reproduction.state.in_(WAITING), Reproduction.pool.in_({row.pool for row in waiting}))
        .subquery()
    )
    asked = numbered.c.reproduction_id.in_({row.reproduction_id for row in waiting})
    return {found.reproduction_id: found.position for found in session.execute(select(numbered).where(asked))}
