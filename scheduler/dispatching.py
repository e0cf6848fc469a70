"""Queued reproductions become batches in the pools' Celery queues.

The queue is the database; the broker holds only a few batches ahead of the workers. So the order is decided late, a
broker that loses everything costs little, and one that nobody consumes does not fill up.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import distinct, func, or_, select
from sqlalchemy.orm import Session

from scheduler import outbox, stopping
from scheduler.admission import RunSettings
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction, new_id, now
from scheduler.machine import ReproductionState
from scheduler.record import move_reproduction
from scheduler.resuming import resume_of
from specs.messages import RUN_BATCH, AttemptRef, ModelRef, Order, RunBatch, TaskRef
from specs.policy import Policy, PoolRules

AHEAD = 2
"""Batches of one pool that wait in the broker at most."""


def dispatch(database: Database, policy: Policy) -> int:
    """Fill every pool's queue up to `AHEAD`; returns how many batches were put in the outbox."""
    count = 0
    for pool in policy.pools:
        # One batch a transaction, so that none is long.
        while _dispatch_one(database, policy, pool):
            count += 1
    return count


def _dispatch_one(database: Database, policy: Policy, pool: PoolRules) -> bool:
    with database.transaction() as session:
        if _waiting(session, pool) >= AHEAD:
            return False
        batch = _next_batch(session, pool, policy.run.batch)
        if batch:
            _send(session, policy, pool, batch)
        return bool(batch)


def _waiting(session: Session, pool: PoolRules) -> int:
    waiting = select(func.count(distinct(Reproduction.batch_id))).where(
        Reproduction.pool == pool.name, Reproduction.state == ReproductionState.DISPATCHED
    )
    return session.scalar(waiting) or 0


def _next_batch(session: Session, pool: PoolRules, size: int) -> list[Reproduction]:
    """The most urgent queued reproduction of a pool, and others that its engine can serve, most urgent first."""
    ready = (
        select(Reproduction)
        .where(
            Reproduction.pool == pool.name,
            Reproduction.state == ReproductionState.QUEUED,
            or_(Reproduction.not_before.is_(None), Reproduction.not_before <= now()),
        )
        .order_by(Reproduction.priority, Reproduction.created_at)
        # Several dispatchers each take their own rows; SQLite, which has one writer, ignores it.
        .with_for_update(skip_locked=True)
    )
    first = session.scalars(ready.limit(1)).first()
    if first is None:
        return []
    same_model = ready.where(
        Reproduction.model_id == first.model_id, Reproduction.model_revision == first.model_revision
    )
    engine = first.settings["engine"], first.settings["gpus"]
    found = session.scalars(same_model.limit(4 * size)).all()
    return [row for row in found if (row.settings["engine"], row.settings["gpus"]) == engine][:size]


def _send(session: Session, policy: Policy, pool: PoolRules, batch: list[Reproduction]) -> None:
    batch_id = new_id()
    look_again = now() + timedelta(seconds=policy.run.lease_seconds)
    for reproduction in batch:
        stopping.fix(session, reproduction)
        reproduction.attempt += 1
        reproduction.batch_id = batch_id
        session.add(
            Attempt(reproduction_id=reproduction.reproduction_id, number=reproduction.attempt, batch_id=batch_id)
        )
        why = f"attempt {reproduction.attempt} waits for a worker of pool {pool.name}"
        move_reproduction(session, reproduction, ReproductionState.DISPATCHED, why)
        reproduction.lease_until = look_again
    settings = RunSettings.model_validate(batch[0].settings, strict=False)
    message = RunBatch(
        batch_id=batch_id,
        model=ModelRef(model_id=batch[0].model_id, revision=batch[0].model_revision),
        engine=settings.engine,
        gpus=settings.gpus,
        heartbeat_seconds=policy.run.heartbeat_seconds,
        orders=tuple(_order(reproduction, policy) for reproduction in batch),
    )
    outbox.put(session, queue=pool.queue, task=RUN_BATCH, body=message.encode(), message_id=batch_id)


def _order(reproduction: Reproduction, policy: Policy) -> Order:
    settings = RunSettings.model_validate(reproduction.settings, strict=False)
    if reproduction.seed is None:
        raise ValueError(f"reproduction {reproduction.reproduction_id} is sent out without a seed")
    return Order(
        ref=AttemptRef(reproduction_id=reproduction.reproduction_id, attempt=reproduction.attempt),
        task=TaskRef(
            dataset_id=reproduction.dataset_id,
            revision=reproduction.dataset_revision,
            task_id=reproduction.task_id,
            spec_sha256=reproduction.spec_sha256,
        ),
        generation=settings.generation,
        seed=reproduction.seed,
        epochs=settings.epochs,
        sample_limit=settings.sample_limit,
        stopping=stopping.stopping_of(reproduction),
        allow_self_judge=settings.allow_self_judge,
        judges=settings.judges,
        stall_seconds=policy.run.stall_seconds,
        deadline_seconds=policy.run.deadline_seconds,
        resume=resume_of(reproduction),
    )
