"""Who of a pool takes work, and what waits for whom, as the database knows it: what `assignment` goes by.

The questions are made once: they are asked whenever work may have to be sent out, and making one takes as long as the
database takes to answer it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, distinct, func, or_, select
from sqlalchemy.orm import Session

from scheduler.collect.kept_reports import IS_REPORTED
from scheduler.collect.workforce import READY
from scheduler.database.tables import Attempt, Reproduction, Worker, now
from scheduler.dispatch.assignment import LATELY_SECONDS, Group, Seat, WaitingBatch, free_in
from scheduler.state_machine import CAME_TO_NOTHING, ReproductionState
from specs.messages import AttemptOutcome, WorkerState
from specs.policy.cost import asking_seconds, start_seconds
from specs.policy.pools import PoolRules

HORIZON = 20_000
"""Queued reproductions of a pool that one look sees, the most urgent and oldest: a longer queue costs no more."""

IS_READY = (
    Reproduction.pool == bindparam("pool"),
    Reproduction.state == ReproductionState.QUEUED,
    or_(Reproduction.not_before.is_(None), Reproduction.not_before <= bindparam("at")),
)
"""Conditions, for a `pool` and a time `at`: queued, and not backing off after a failed attempt."""


@dataclass(frozen=True)
class _Running:
    """The batch that a worker has the lease of."""

    engine: str | None
    since: datetime
    expected_seconds: float | None
    """That all of it is taken to need, not knowing whether its engine had to be loaded; None where nobody knows."""


_OF_POOL = Reproduction.pool == bindparam("pool")
_SENT = (_OF_POOL, Reproduction.state == ReproductionState.DISPATCHED)
_HELD = (
    _OF_POOL,
    Reproduction.state == ReproductionState.RUNNING,
    Reproduction.worker.is_not(None),
    # Who has reported takes other work, however long it takes until the report can be checked.
    ~IS_REPORTED,
)


def seats(session: Session, pool: PoolRules) -> list[Seat]:
    """The workers of a pool that take work."""
    workers = session.execute(_WORKERS, {"pool": pool.name, "at": now()}).all()
    if not workers:
        return []
    waiting, running = ahead(session, pool.name), _running(session, pool)
    found = []
    for name, state, engine_key, asleep, since in workers:
        runs = running.get(name)
        kept = frozenset(asleep)
        if state == WorkerState.IDLE and runs is None:
            found.append(Seat(name, True, waiting.get(name, 0), engine_key, kept, idle_since=since))
            continue
        # One that works will have the engine of its batch, whatever it had when it last spoke of that.
        loaded = runs.engine if runs is not None else None
        found.append(Seat(name, False, waiting.get(name, 0), loaded, kept, free_in=_free_in(runs)))
    return found


_WORKERS = select(Worker.name, Worker.state, Worker.engine_key, Worker.asleep, Worker.since).where(
    Worker.pool == bindparam("pool"),
    Worker.state.in_(READY),
    or_(Worker.passed_over_until.is_(None), Worker.passed_over_until < bindparam("at")),
)


def common(session: Session, pool: str) -> list[WaitingBatch]:
    """The batches in a pool's common queue."""
    return [WaitingBatch(priority, since) for priority, since in session.execute(_COMMON, {"pool": pool})]


_COMMON = (
    select(func.min(Reproduction.priority), func.min(Reproduction.created_at))
    .where(*_SENT, Reproduction.sent_to.is_(None))
    .group_by(Reproduction.batch_id)
)


def ended_lately(session: Session, pool: str) -> int:
    """Batches of a pool's common queue of which a run was completed in the last moments."""
    since = now() - timedelta(seconds=LATELY_SECONDS)
    return session.scalar(_ENDED, {"pool": pool, "since": since}) or 0


_ENDED = (
    select(func.count(distinct(Attempt.batch_id)))
    .join(Reproduction, Reproduction.reproduction_id == Attempt.reproduction_id)
    .where(
        Attempt.ended_at >= bindparam("since"),
        Attempt.outcome == AttemptOutcome.COMPLETED,
        _OF_POOL,
        Reproduction.sent_to.is_(None),
    )
)


def ahead(session: Session, pool: str) -> Mapping[str | None, int]:
    """How many batches wait in each worker's own queue; None is the pool's common one."""
    return dict(session.execute(_AHEAD, {"pool": pool}).all())


_AHEAD = (
    select(Reproduction.sent_to, func.count(distinct(Reproduction.batch_id)))
    .where(*_SENT)
    .group_by(Reproduction.sent_to)
)


class Queue(NamedTuple):
    """The reproductions of a pool that may be sent."""

    groups: list[Group]
    """By engine and class of priority."""

    is_keyed: bool
    """Whether it is known of all of them which engine can serve them."""


def queue(session: Session, pool: PoolRules) -> Queue:
    """What waits in a pool for being sent."""
    rows = session.execute(_GROUPS, {"pool": pool.name, "at": now()}).all()
    groups = [
        Group(
            engine,
            priority,
            since,
            count,
            start_seconds(weights),
            None if unknown else asking_seconds(cost, weights, pool.gpus),
        )
        for engine, priority, since, count, weights, cost, unknown in rows
        if engine is not None
    ]
    return Queue(groups, len(groups) == len(rows))


_SEEN = (
    select(
        Reproduction.engine_key,
        Reproduction.priority,
        Reproduction.created_at,
        Reproduction.weights_bytes,
        Reproduction.gpu_seconds,
    )
    .where(*IS_READY)
    .order_by(Reproduction.priority, Reproduction.created_at)
    .limit(HORIZON)
    .subquery()
)
_GROUPS = select(
    _SEEN.c.engine_key,
    _SEEN.c.priority,
    func.min(_SEEN.c.created_at),
    func.count(),
    func.max(_SEEN.c.weights_bytes),
    func.max(_SEEN.c.gpu_seconds),
    func.count() - func.count(_SEEN.c.gpu_seconds),
).group_by(_SEEN.c.engine_key, _SEEN.c.priority)


def _running(session: Session, pool: PoolRules) -> Mapping[str, _Running]:
    """What each worker with a lease works at."""
    return {
        worker: _Running(engine, since, None if unknown else _expected(cost, count, weights, pool.gpus))
        for worker, engine, since, cost, unknown, count, weights in session.execute(_RUNNING, {"pool": pool.name})
    }


_LEASED = (
    select(
        Reproduction.worker,
        func.max(Reproduction.engine_key).label("engine"),
        func.max(Reproduction.batch_id).label("batch_id"),
        func.min(Reproduction.since).label("since"),
    )
    .where(*_HELD)
    .group_by(Reproduction.worker)
    .subquery()
)
_RUNNING = (
    select(
        _LEASED.c.worker,
        _LEASED.c.engine,
        _LEASED.c.since,
        # With those of the batch that came to their end: the whole of it began when the others did.
        func.sum(Reproduction.gpu_seconds),
        func.count() - func.count(Reproduction.gpu_seconds),
        func.count(),
        func.max(Reproduction.weights_bytes),
    )
    .join_from(_LEASED, Reproduction, Reproduction.batch_id == _LEASED.c.batch_id)
    # What was blocked or cancelled at no cost has taken none of that time, and its cost is not unknown.
    .where(or_(Reproduction.gpu_seconds.is_not(None), Reproduction.state.not_in(CAME_TO_NOTHING)))
    .group_by(_LEASED.c.worker, _LEASED.c.engine, _LEASED.c.since)
)


def _expected(cost: float, count: int, weights_bytes: int, gpus: int) -> float:
    # Each bears the engine's start in its cost, and the batch starts one at most.
    return start_seconds(weights_bytes) + count * asking_seconds(cost / count, weights_bytes, gpus)


def _free_in(runs: _Running | None) -> float | None:
    if runs is None or runs.expected_seconds is None:
        return None
    return free_in(runs.expected_seconds, (now() - runs.since).total_seconds())
