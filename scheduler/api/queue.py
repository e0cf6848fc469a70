"""Where reproductions are in the queues of their pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session, aliased, defer

from scheduler.database.tables import Reproduction
from scheduler.machine import ReproductionState
from scheduler.workforce import crews

WAITING = (ReproductionState.QUEUED, ReproductionState.DISPATCHED)

COUNTED_ONE_BY_ONE = 3
"""More than so many at once are ranked by one walk through the queue, instead of a count for each."""

WITHOUT_BULK = tuple(
    defer(column, raiseload=True) for column in (Reproduction.measurement, Reproduction.settings, Reproduction.stopping)
)
"""For queries of many: a measurement holds the score of every sample, and so may what a run stops by."""


def positions(session: Session, reproductions: Iterable[Reproduction]) -> dict[str, int]:
    """Place in its pool's queue, from 1, of each of `reproductions` that waits there."""
    waiting = [row for row in reproductions if row.state in WAITING]
    if len(waiting) <= COUNTED_ONE_BY_ONE:
        return _counted(session, [row.reproduction_id for row in waiting]) if waiting else {}
    return _ranked(session, waiting)


def _ranked(session: Session, waiting: Sequence[Reproduction]) -> dict[str, int]:
    """By one walk through the queues of their pools, whatever their number."""
    pools = {row.pool for row in waiting}
    place = func.row_number().over(
        partition_by=(Reproduction.pool, Reproduction.state),
        order_by=(Reproduction.priority, Reproduction.created_at, Reproduction.reproduction_id),
    )
    ranked = (
        select(Reproduction.reproduction_id, place.label("place"))
        .where(Reproduction.state.in_(WAITING), Reproduction.pool.in_(pools))
        .subquery()
    )
    wanted = select(ranked).where(ranked.c.reproduction_id.in_([row.reproduction_id for row in waiting]))
    places: dict[str, int] = {row.reproduction_id: row.place for row in session.execute(wanted)}
    dispatched = (
        select(Reproduction.pool, func.count())
        .where(Reproduction.state == ReproductionState.DISPATCHED, Reproduction.pool.in_(pools))
        .group_by(Reproduction.pool)
    )
    ahead = dict(session.execute(dispatched).tuples().all())
    return {
        row.reproduction_id: places[row.reproduction_id]
        # Dispatched ones are with the broker already, ahead of all that is queued.
        + (ahead.get(row.pool, 0) if row.state == ReproductionState.QUEUED else 0)
        for row in waiting
        if row.reproduction_id in places
    }


def _counted(session: Session, waiting: Sequence[str]) -> dict[str, int]:
    """By what is before each of them."""
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
