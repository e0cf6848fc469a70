"""How many workers each pool could keep busy: what a pool is scaled by, and by what it is seen to lack any."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import ColumnElement, case, distinct, exists, func, or_, select
from sqlalchemy.orm import Session

from scheduler.collect.kept_reports import IS_REPORTED
from scheduler.database.tables import Reproduction, Worker, now
from scheduler.dispatch.batching import ALONG, batches_of
from scheduler.state_machine import IN_FLIGHT, ReproductionState
from specs.messages import WorkerState
from specs.policy.cost import asking_seconds, start_seconds
from specs.policy.rules import Policy


def workers_wanted(session: Session, policy: Policy) -> dict[str, int]:
    """One for each batch that is out, and for each that what is queued makes up; by pool, of those that want any.

    One for each model would be too few: of a hundred long runs of one, a batch holds one or two.

    What has its report keeps no worker busy: for hours of an evidence store that is away, GPUs would be idle for it.
    Nor does what waits for its next try, or for the operator. Where any is wanted, one more comes in the place of each
    worker in quarantine: a pool that is scaled by this has it among its replicas, and it takes nothing.
    """
    out = (
        select(Reproduction.pool, func.count(distinct(Reproduction.batch_id)))
        .where(Reproduction.state.in_(IN_FLIGHT), ~IS_REPORTED)
        .group_by(Reproduction.pool)
    )
    waiting = (
        select(
            Reproduction.pool,
            Reproduction.weights_bytes,
            func.count(),
            func.count(Reproduction.gpu_seconds),
            func.avg(_cost_in_a_batch(policy)),
        )
        .where(
            Reproduction.state == ReproductionState.QUEUED,
            or_(Reproduction.not_before.is_(None), Reproduction.not_before <= now()),
            ~Reproduction.set_aside,
        )
        .group_by(Reproduction.pool, Reproduction.model_id, Reproduction.weights_bytes)
    )
    found: Counter[str] = Counter(dict(session.execute(out).all()))
    gpus = {pool.name: pool.gpus for pool in policy.pools}
    for pool, weights, count, known, cost in session.execute(waiting):
        seconds = known * asking_seconds(cost, weights, gpus.get(pool, 0)) if known else 0.0
        found[pool] += batches_of(known, seconds, count - known, start_seconds(weights), policy.run)
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


def _cost_in_a_batch(policy: Policy) -> ColumnElement[Any]:
    """What a run is taken to cost, and no more than one whose asking takes `most_room`; NULL where nobody knows."""
    weights: Any = Reproduction.weights_bytes  # what is worked out of a column is an expression
    load: Any = start_seconds(weights)
    # Written out again, as the database reads no `max`: there may be as many costs as there are runs.
    room = case((ALONG * load > policy.run.hold_back_seconds, ALONG * load), else_=policy.run.hold_back_seconds)
    most = (load + room) * case(
        {pool.name: max(pool.gpus, 1) for pool in policy.pools}, value=Reproduction.pool, else_=1
    )
    return case((Reproduction.gpu_seconds > most, most), else_=Reproduction.gpu_seconds)
