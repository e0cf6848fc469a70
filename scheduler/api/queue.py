"""Where reproductions are in the queues of their pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session, aliased, defer

from scheduler.database.tables import Reproduction
from scheduler.machine import ReproductionState
from scheduler.workforce import crews

WAITING = (ReproductionState.QUEUED, ReproductionState.DISPATCHED)

WITHOUT_BULK = tuple(
    defer(column, raiseload=True) for column in (Reproduction.measurement, Reproduction.settings, Reproduction.stopping)
)
"""For queries of many: a measurement holds the score of every sample, and so may what a run stops by."""


def positions(session: Session, reproductions: Iterable[Reproduction]) -> dict[str, int]:
    """Place in its pool's queue, from 1, of each of `reproductions` that waits there."""
    waiting = [row.reproduction_id for row in reproductions if row.state in WAITING]
    if not waiting:
        return {}
    one, other = Reproduction, aliased(Reproduction)
    # Counted along the index on state, pool, priority and creation, and only as far as the one that is asked for.
    before_it = (
        select(func.count())
        .where(
            other.state == one.state,
            other.pool == one.pool,
            tuple_(other.priority, other.created_at, other.reproduction_id)
            < tuple_(one.priority, one.created_at, one.reproduction_id),
        )
        .scalar_subquery()
    )
    # Dispatched ones are with the broker already, ahead of all that is queued.
    dispatched = (
        select(func.count())
        .where(
            one.state == ReproductionState.QUEUED,
            other.state == ReproductionState.DISPATCHED,
            other.pool == one.pool,
        )
        .scalar_subquery()
    )
    query = select(one.reproduction_id, before_it + dispatched + 1).where(one.reproduction_id.in_(waiting))
    return {row[0]: row[1] for row in session.execute(query)}


def troubles(session: Session, reproductions: Iterable[Reproduction]) -> Mapping[str, str | None]:
    """By pool: why nobody takes what waits there; None where somebody will."""
    pools = {row.pool for row in reproductions if row.state in WAITING}
    return {pool: crew.trouble for pool, crew in crews(session, pools).items()} if pools else {}
