"""Queued reproductions become batches, in the pools' Celery queues and in those of single workers.

The queue is the database; the broker holds only a few batches ahead of the workers. So the order is decided late, a
broker that loses everything costs little, and one that nobody consumes does not fill up. Which batch goes where is
decided in scheduler/batching.py, what travels along in scheduler/filling.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, selectinload

from scheduler import outbox, seats, stopping
from scheduler.admission import RunSettings
from scheduler.batching import COMMON_AHEAD, OWN_AHEAD, Placement, Turn, place
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction, new_id, now
from scheduler.filling import Queued, fill
from scheduler.hinting import hint
from scheduler.machine import ReproductionState
from scheduler.record import move_reproduction
from scheduler.resuming import resume_of
from scheduler.waiting import is_ready
from specs.cost import asking_seconds
from specs.engine_key import engine_key
from specs.messages import RUN_BATCH, AttemptOutcome, AttemptRef, ModelRef, Order, RunBatch, TaskRef
from specs.policy import EngineRules, Policy, PoolRules
from specs.queues import own_queue

SUSPECT = (
    AttemptOutcome.LOST,
    AttemptOutcome.ENGINE_FAILED,
    AttemptOutcome.OUT_OF_MEMORY,
    AttemptOutcome.STALLED,
)
"""What becomes of every run on an engine that breaks, whichever broke it: each is tried again by itself, so that none
uses up its attempts beside another."""

CONSIDERED = 4
"""Times as many as a batch may have: the queued ones of an engine among which what fits is looked for."""

KEYED_AT_ONCE = 500
"""Reproductions whose engine one transaction looks up."""


def dispatch(database: Database, policy: Policy) -> int:
    """Fill the queues of every pool and of its workers; returns how many batches were put in the outbox."""
    count = 0
    for pool in _in_need(database, policy):
        while _find_engines(database, pool):
            pass
        while sent := _round(database, policy, pool):
            count += sent
    return count


def _in_need(database: Database, policy: Policy) -> list[PoolRules]:
    """The pools for which anything is queued: most looks end here, and take no lock."""
    with database.reading() as session:
        return [pool for pool in policy.pools if session.scalar(_QUEUED, {"pool": pool.name}) is not None]


_QUEUED = (
    select(Reproduction.reproduction_id)
    .where(Reproduction.pool == bindparam("pool"), Reproduction.state == ReproductionState.QUEUED)
    .limit(1)
)


def _find_engines(database: Database, pool: PoolRules) -> bool:
    """Look up which engine can serve what is in the queue with changed settings; whether there may be more of it."""
    with database.reading() as session:
        if session.scalar(_QUEUED.where(Reproduction.engine_key.is_(None)), {"pool": pool.name}) is None:
            return False
    with database.transaction() as session:
        found = session.scalars(
            select(Reproduction)
            .where(*is_ready(pool.name), Reproduction.engine_key.is_(None))
            .limit(KEYED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        for row in found:
            rules = EngineRules.model_validate(row.settings["engine"], strict=False)
            model = ModelRef(model_id=row.model_id, revision=row.model_revision)
            row.engine_key = engine_key(model, rules, row.settings["gpus"])
        return len(found) == KEYED_AT_ONCE


def _round(database: Database, policy: Policy, pool: PoolRules) -> int:
    with database.reading() as session:
        takers, common = seats.seats(session, pool), seats.common(session, pool.name)
        if len(common) >= COMMON_AHEAD and all(each.ahead >= OWN_AHEAD for each in takers):
            return 0
        found = place(seats.groups(session, pool.name), takers, common, now(), policy.run)
    count = 0
    for placement in found:
        # One batch a transaction, so that none is long.
        with database.transaction() as session:
            if not _has_room(session, pool, placement):
                continue
            batch = _batch(session, policy, pool, placement)
            if batch:
                _send(session, policy, pool, batch, placement.seat)
                count += 1
    return count


def _has_room(session: Session, pool: PoolRules, placement: Placement) -> bool:
    """Whether nobody else filled the place in the meantime."""
    room = COMMON_AHEAD if placement.seat is None else OWN_AHEAD
    return seats.waiting_for(session, pool.name, placement.seat) < room


def _batch(session: Session, policy: Policy, pool: PoolRules, placement: Placement) -> list[Reproduction]:
    """What an engine is to be sent, most urgent first, and of that the oldest."""
    rows = session.scalars(
        select(Reproduction)
        .where(*is_ready(pool.name), Reproduction.engine_key == placement.engine)
        .order_by(Reproduction.priority, Reproduction.created_at)
        .limit(CONSIDERED * policy.run.batch)
        # All that sending asks of them, in one question for the batch.
        .options(selectinload(Reproduction.claims), selectinload(Reproduction.attempts))
        # Several dispatchers each take their own rows; SQLite, which has one writer, ignores it.
        .with_for_update(skip_locked=True)
    ).all()
    by_name = {row.reproduction_id: row for row in rows}
    chosen = fill([_queued(row, pool) for row in rows], placement, now(), policy.run)
    return [by_name[each.name] for each in chosen]


def _queued(row: Reproduction, pool: PoolRules) -> Queued:
    cost = row.gpu_seconds
    seconds = None if cost is None else asking_seconds(cost, row.weights_bytes, pool.gpus)
    return Queued(row.reproduction_id, Turn(row.priority, row.created_at), seconds)


def _send(session: Session, policy: Policy, pool: PoolRules, batch: Sequence[Reproduction], worker: str | None) -> None:
    whom = f"a worker of pool {pool.name}" if worker is None else f"worker {worker}"
    batch_id = new_id()
    look_again = now() + timedelta(seconds=policy.run.lease_seconds)
    for reproduction in batch:
        with session.no_autoflush:
            stopping.fix(session, reproduction)
        reproduction.attempt += 1
        reproduction.batch_id, reproduction.sent_to = batch_id, worker
        session.add(
            Attempt(reproduction_id=reproduction.reproduction_id, number=reproduction.attempt, batch_id=batch_id)
        )
        why = f"attempt {reproduction.attempt} waits for {whom}"
        move_reproduction(session, reproduction, ReproductionState.DISPATCHED, why)
        reproduction.lease_until = look_again
    settings = RunSettings.model_validate(batch[0].settings, strict=False)
    message = RunBatch(
        batch_id=batch_id,
        model=ModelRef(model_id=batch[0].model_id, revision=batch[0].model_revision),
        engine=settings.engine,
        gpus=settings.gpus,
        side_by_side=policy.run.side_by_side,
        heartbeat_seconds=policy.run.heartbeat_seconds,
        orders=tuple(_order(reproduction, policy) for reproduction in batch),
    )
    queue = pool.queue if worker is None else own_queue(pool.name, worker)
    outbox.put(session, queue=queue, task=RUN_BATCH, body=message.encode(), message_id=batch_id)
    if policy.run.fetch_ahead:
        hint(session, pool.name, message, worker)


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
        alone=any(attempt.outcome in SUSPECT for attempt in reproduction.attempts),
    )
