"""How many workers each pool could keep busy: what a pool is scaled by, and by what it is seen to lack any."""

from __future__ import annotations

from sqlalchemy import distinct, func, or_, select
from sqlalchemy.orm import Session

from scheduler.collect.kept_reports import IS_REPORTED
from scheduler.database.tables import Reproduction, now
from scheduler.state_machine import IN_FLIGHT, ReproductionState


def workers_wanted(session: Session) -> dict[str, int]:
    """One for each batch that is out, and for each model that waits; by pool, of those that want any.

    What has its report keeps no worker busy: for hours of an evidence store that is away, GPUs would be idle for it.
    Nor does what waits for its next try, or for the operator.
    """
    batches = (
        select(Reproduction.pool, func.count(distinct(Reproduction.batch_id)))
        .where(Reproduction.state.in_(IN_FLIGHT), ~IS_REPORTED)
        .group_by(Reproduction.pool)
    )
    models = (
        select(Reproduction.pool, func.count(distinct(Reproduction.model_id)))
        .where(
            Reproduction.state == ReproductionState.QUEUED,
            or_(Reproduction.not_before.is_(None), Reproduction.not_before <= now()),
            ~Reproduction.set_aside,
        )
        .group_by(Reproduction.pool)
    )
    found: dict[str, int] = {}
    for query in (batches, models):
        for pool, number in session.execute(query):
            found[pool] = found.get(pool, 0) + number
    return found
