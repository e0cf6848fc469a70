"""How many workers each pool could keep busy: what a pool is scaled by, and by what it is seen to lack any."""

from __future__ import annotations

from sqlalchemy import distinct, exists, func, or_, select
from sqlalchemy.orm import Session

from scheduler.collect.kept_reports import IS_REPORTED
from scheduler.database.tables import Reproduction, Worker, now
from scheduler.state_machine import IN_FLIGHT, ReproductionState
from specs.messages import WorkerState


def workers_wanted(session: Session) -> dict[str, int]:
    """One for each batch that is out, and for each model that waits; by pool, of those that want any.

    What has its report keeps no worker busy: for hours of an evidence store that is away, GPUs would be idle for it.
    Nor does what waits for its next try, or for the operator. Where any is wanted, one more comes in the place of each
    worker in quarantine: a pool that is scaled by this has it among its replicas, and it takes nothing.
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
    # One that still ends its batch is counted with that.
    at_work = exists().where(
        Reproduction.worker == Worker.name, Reproduction.state == ReproductionState.RUNNING, ~IS_REPORTED
    )
    quarantined = (
        select(Worker.pool, func.count())
        .where(Worker.pool.in_(found), Worker.state == WorkerState.QUARANTINED, ~at_work)
        .group_by(Worker.pool)
    )
    for pool, number in session.execute(quarantined):
        found[pool] += number
    return found
