"""Queued reproductions become batches, in the pools' Celery queues and in those of single workers.

The queue is the database; the broker holds only a few batches ahead of the workers. So the order is decided late, a
broker that loses everything costs little, and one that nobody consumes does not fill up. Which batch goes where is
decided in scheduler/dispatch/assignment.py, what travels along in scheduler/dispatch/batching.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session, selectinload

from scheduler.collect.resuming import resume_of
from scheduler.database import advisory_locks
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction, new_id, now
from scheduler.dispatch import seats
from scheduler.dispatch.assignment import (
    COMMON_AHEAD,
    OWN_AHEAD,
    Assignment,
    Turn,
    assign,
    common_room,
    is_short,
    next_free,
)
from scheduler.dispatch.batching import Queued, fill_batch
from scheduler.dispatch.fetch_ahead_hints import hint
from scheduler.dispatch.seats import IS_READY
from scheduler.dispatch.setting_aside import set_aside
from scheduler.judging import stopping
from scheduler.judging.history import EarlierRuns
from scheduler.messaging import outbox
from scheduler.own_faults import OURS
from scheduler.record import move_reproduction
from scheduler.state_machine import ReproductionState
from scheduler.stored_values import settings_of
from specs.engine_key import engine_key
from specs.judging.stopping import Stopping
from specs.messages import RUN_BATCH, AttemptOutcome, AttemptRef, ModelRef, Order, RunBatch, TaskRef
from specs.policy.cost import asking_seconds
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.processes.envelopes import MAX_POOL_BYTES
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

SENT_TOGETHER = 8
"""Batches of one transaction: most of its cost is the commit, and others wait for it for so long."""

STOPPING_BYTES = MAX_POOL_BYTES // 2
"""Of what the runs of a batch stop by, as JSON: a message of more may be too large for its worker, which would refuse
it. Base64 adds a third, and the rest of the orders has to have room. What one run stops by always fits: two predictions
of at most `MAX_POPULATION` samples."""

KEYED_AT_ONCE = 500
"""Reproductions whose engine one transaction looks up."""


def dispatch(database: Database, policy: Policy, relay: Callable[[], object] = lambda: None) -> int:
    """Fill the queues of every pool and of its workers; returns how many batches were put in the outbox.

    `relay` is called as soon as there are some, since workers may wait for the first of them.
    """
    return sum(_fill_pool(database, policy, pool, relay) for pool in _in_need(database, policy))


def _in_need(database: Database, policy: Policy) -> list[PoolRules]:
    """The pools for which anything is queued: most looks end here."""
    with database.looking() as session:
        return [pool for pool in policy.pools if session.scalar(_QUEUED, {"pool": pool.name}) is not None]


_QUEUED = (
    select(Reproduction.reproduction_id)
    .where(Reproduction.pool == bindparam("pool"), Reproduction.state == ReproductionState.QUEUED)
    .limit(1)
)


def _fill_pool(database: Database, policy: Policy, pool: PoolRules, relay: Callable[[], object]) -> int:
    count = 0
    while found := _look(database, policy, pool):
        sent = aside = 0
        for first in range(0, len(found.assignments), SENT_TOGETHER):
            for each in _send_some(database, policy, pool, found, found.assignments[first : first + SENT_TOGETHER]):
                sent, aside = sent + (each.message is not None), aside + each.set_aside
            relay()
        count += sent
        # Where something was set aside, others may have its place.
        if not aside and (not sent or found.fills(sent)):
            break
    return count


@dataclass(frozen=True)
class _Look:
    """At what waits, for whom, and what is to be sent on that account."""

    assignments: tuple[Assignment, ...]
    common_room: int
    """Batches that may wait in the pool's common queue."""

    next_free: Sequence[str]
    """Workers that run something, the one that is expected to be free first."""

    free: int
    """Places for batches, in the common queue and the workers' own."""

    def fills(self, sent: int) -> bool:
        """Whether as many as were sent take all places, so that there is nothing more to look for."""
        return sent >= self.free


def _look(database: Database, policy: Policy, pool: PoolRules) -> _Look | None:
    """What is to be sent; None where nothing is."""
    while True:
        with database.reading() as session:
            takers, common = seats.seats(session, pool), seats.common(session, pool.name)
            room = common_room(seats.ended_lately(session, pool.name))
            own = sum(each.ahead < OWN_AHEAD for each in takers)
            if len(common) > room // 2 and not own:
                # Half of it is empty when more is sent, so that many batches share what sending costs.
                return None
            queue = seats.queue(session, pool)
        if queue.is_keyed or not _find_engines(database, pool):
            break
    if not any(is_short(group) for group in queue.groups):
        room = COMMON_AHEAD
    assignments = assign(queue.groups, takers, common, now(), policy.run, room)
    return _Look(assignments, room, next_free(takers), own + max(0, room - len(common))) if assignments else None


def _find_engines(database: Database, pool: PoolRules) -> bool:
    """Look up which engine can serve what is in the queue with changed settings; whether any was found."""
    with database.transaction() as session:
        found = session.scalars(
            select(Reproduction)
            .where(*IS_READY, Reproduction.engine_key.is_(None))
            .limit(KEYED_AT_ONCE)
            .with_for_update(skip_locked=True),
            {"pool": pool.name, "at": now()},
        ).all()
        for row in found:
            try:
                settings = settings_of(row)
                model = ModelRef(model_id=row.model_id, revision=row.model_revision)
                row.engine_key = engine_key(model, settings.engine, settings.gpus)
            except OURS as error:
                set_aside(session, row, error)
        return bool(found)


class _Sent(NamedTuple):
    """What became of an assignment."""

    message: RunBatch | None
    """None where nothing of it can be sent."""

    set_aside: int
    """Its reproductions that cannot be."""


def _send_some(
    database: Database, policy: Policy, pool: PoolRules, look: _Look, assignments: Sequence[Assignment]
) -> list[_Sent]:
    """Send a few batches, each of another engine, in one transaction."""
    done: list[_Sent] = []
    # What is asked here is not about what is changed here, so that all changes are written at once.
    with database.transaction() as session, session.no_autoflush:
        # Each dispatcher would find the places free that the others are filling.
        advisory_locks.acquire(session, f"send to pool {pool.name}")
        waiting = dict(seats.ahead(session, pool.name))
        earlier = EarlierRuns(session)
        for assignment in assignments:
            # Somebody else may have filled the place in the meantime.
            before = waiting.get(assignment.seat, 0)
            if before >= (look.common_room if assignment.seat is None else OWN_AHEAD):
                continue
            batch = _batch(session, policy, pool, assignment)
            sent = _send(session, policy, pool, batch, assignment.seat, earlier)
            done.append(sent)
            if sent.message is not None:
                if policy.run.fetch_ahead:
                    hint(session, sent.message, assignment.seat, before, look.next_free)
                waiting[assignment.seat] = before + 1
    return done


def _batch(session: Session, policy: Policy, pool: PoolRules, assignment: Assignment) -> list[Reproduction]:
    """What an engine is to be sent, most urgent first, and of that the oldest."""
    considered = session.execute(
        _CONSIDERED,
        {"pool": pool.name, "at": now(), "engine": assignment.engine, "most": CONSIDERED * policy.run.batch},
    ).all()
    chosen = fill_batch([_queued(row, pool) for row in considered], assignment, now(), policy.run)
    names = [each.name for each in chosen]
    rows = {row.reproduction_id: row for row in session.scalars(_CHOSEN, {"names": names})}
    return [rows[name] for name in names]


_CONSIDERED = (
    select(
        Reproduction.reproduction_id,
        Reproduction.priority,
        Reproduction.created_at,
        Reproduction.gpu_seconds,
        Reproduction.weights_bytes,
    )
    .where(*IS_READY, Reproduction.engine_key == bindparam("engine"))
    .order_by(Reproduction.priority, Reproduction.created_at)
    .limit(bindparam("most"))
    # Several dispatchers each take their own rows; SQLite, which has one writer, ignores it.
    .with_for_update(skip_locked=True)
)
_CHOSEN = (
    select(Reproduction)
    .where(Reproduction.reproduction_id.in_(bindparam("names", expanding=True)))
    # What sending asks of each, in one question for the batch; of attempts, where there were any, one by one.
    .options(selectinload(Reproduction.claims).load_only(*stopping.ASKED_OF_CLAIMS))
)


def _queued(row: Row[str, int, datetime, float | None, int], pool: PoolRules) -> Queued:
    name, priority, since, cost, weights_bytes = row
    seconds = None if cost is None else asking_seconds(cost, weights_bytes, pool.gpus)
    return Queued(name, Turn(priority, since), seconds)


def _send(
    session: Session,
    policy: Policy,
    pool: PoolRules,
    batch: Sequence[Reproduction],
    worker: str | None,
    earlier: EarlierRuns,
) -> _Sent:
    whom = f"a worker of pool {pool.name}" if worker is None else f"worker {worker}"
    batch_id = new_id()
    look_again = now() + timedelta(seconds=policy.run.lease_seconds)
    sent: list[Reproduction] = []
    orders: list[Order] = []
    size = aside = 0
    for reproduction in batch:
        try:
            stops_by = stopping.fix(earlier, reproduction)
            size += len(json.dumps(reproduction.stopping))
            if orders and size > STOPPING_BYTES:
                # It stays in the queue, with what follows it, for the next batch.
                break
            reproduction.attempt += 1
            order = _order(reproduction, stops_by, policy)
        except OURS as error:
            set_aside(session, reproduction, error)
            aside += 1
            continue
        reproduction.batch_id, reproduction.sent_to = batch_id, worker
        session.add(
            Attempt(reproduction_id=reproduction.reproduction_id, number=reproduction.attempt, batch_id=batch_id)
        )
        why = f"attempt {reproduction.attempt} waits for {whom}"
        move_reproduction(session, reproduction, ReproductionState.DISPATCHED, why)
        reproduction.lease_until = look_again
        sent.append(reproduction)
        orders.append(order)
    if not sent:
        return _Sent(None, aside)
    settings = settings_of(sent[0])
    message = RunBatch(
        batch_id=batch_id,
        model=ModelRef(model_id=sent[0].model_id, revision=sent[0].model_revision),
        engine=settings.engine,
        gpus=settings.gpus,
        side_by_side=policy.run.side_by_side,
        heartbeat_seconds=policy.run.heartbeat_seconds,
        orders=tuple(orders),
    )
    queue = pool.queue if worker is None else own_queue(pool.name, worker)
    outbox.put(session, queue=queue, task=RUN_BATCH, body=message.encode(), message_id=batch_id)
    return _Sent(message, aside)


def _order(reproduction: Reproduction, stops_by: Stopping | None, policy: Policy) -> Order:
    settings = settings_of(reproduction)
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
        stopping=stops_by,
        allow_self_judge=settings.allow_self_judge,
        judges=settings.judges,
        stall_seconds=policy.run.stall_seconds,
        deadline_seconds=policy.run.deadline_seconds,
        resume=resume_of(reproduction),
        alone=_is_suspect(reproduction),
    )


def _is_suspect(reproduction: Reproduction) -> bool:
    # Most are sent once, and there is nothing to look up.
    return reproduction.attempt > 1 and any(attempt.outcome in SUSPECT for attempt in reproduction.attempts)
