"""Who of a pool takes work, and what waits for whom, as the database knows it: what scheduler/batching.py goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import distinct, func, or_, select
from sqlalchemy.orm import Session

from scheduler.batching import Group, Seat, Waiting, free_in
from scheduler.database.tables import Reproduction, Worker, now
from scheduler.machine import ReproductionState
from scheduler.waiting import is_ready
from scheduler.workforce import READY
from specs.cost import asking_seconds, start_seconds
from specs.messages import WorkerState
from specs.policy import PoolRules

HORIZON = 20_000
"""Queued reproductions of a pool that one look sees, the most urgent and oldest: a longer queue costs no more."""


@dataclass(frozen=True)
class _Running:
    """The batch that a worker has the lease of."""

    engine: str | None
    since: datetime
    expected_seconds: float | None
    """That all of it is taken to need, not knowing whether its engine had to be loaded; None where nobody knows."""


def seats(session: Session, pool: PoolRules) -> list[Seat]:
    """The workers of a pool that take work."""
    workers = session.execute(
        select(Worker.name, Worker.state, Worker.engine_key, Worker.asleep, Worker.since).where(
            Worker.pool == pool.name,
            Worker.state.in_(READY),
            or_(Worker.passed_over_until.is_(None), Worker.passed_over_until < now()),
        )
    ).all()
    if not workers:
        return []
    ahead, running = _ahead(session, pool.name), _running(session, pool)
    found = []
    for name, state, engine_key, asleep, since in workers:
        runs = running.get(name)
        kept = frozenset(asleep)
        if state == WorkerState.IDLE and runs is None:
            found.append(Seat(name, True, ahead.get(name, 0), engine_key, kept, idle_since=since))
            continue
        # One that works will have the engine of its batch, whatever it had when it last spoke of that.
        loaded = runs.engine if runs is not None else None
        found.append(Seat(name, False, ahead.get(name, 0), loaded, kept, free_in=_free_in(runs)))
    return found


def common(session: Session, pool: str) -> list[Waiting]:
    """The batches in a pool's common queue."""
    rows = session.execute(
        select(func.min(Reproduction.priority), func.min(Reproduction.created_at))
        .where(
            Reproduction.pool == pool,
            Reproduction.state == ReproductionState.DISPATCHED,
            Reproduction.sent_to.is_(None),
        )
        .group_by(Reproduction.batch_id)
    ).all()
    return [Waiting(priority, since) for priority, since in rows]


def waiting_for(session: Session, pool: str, worker: str | None) -> int:
    """How many batches wait in a worker's own queue; None is the pool's common one."""
    count = select(func.count(distinct(Reproduction.batch_id))).where(
        Reproduction.pool == pool,
        Reproduction.state == ReproductionState.DISPATCHED,
        Reproduction.sent_to.is_not_distinct_from(worker),
    )
    return session.scalar(count) or 0


def is_running(session: Session, pool: str, worker: str) -> bool:
    """Whether a worker has the lease of anything."""
    lease = select(Reproduction.reproduction_id).where(
        Reproduction.pool == pool, Reproduction.state == ReproductionState.RUNNING, Reproduction.worker == worker
    )
    return session.scalar(lease.limit(1)) is not None


def free_next(session: Session, pool: str, place: int) -> str | None:
    """The worker that is likely to be the next to be free, or the next but one, from 0: it has the fewest runs left."""
    return session.scalar(
        select(Reproduction.worker)
        .where(
            Reproduction.pool == pool,
            Reproduction.state == ReproductionState.RUNNING,
            Reproduction.worker.is_not(None),
        )
        .group_by(Reproduction.worker)
        .order_by(func.count(), func.min(Reproduction.since))
        .offset(place)
        .limit(1)
    )


def groups(session: Session, pool: str) -> list[Group]:
    """The reproductions of a pool that may be sent, by engine and class of priority."""
    seen = (
        select(Reproduction.engine_key, Reproduction.priority, Reproduction.created_at, Reproduction.weights_bytes)
        .where(*is_ready(pool), Reproduction.engine_key.is_not(None))
        .order_by(Reproduction.priority, Reproduction.created_at)
        .limit(HORIZON)
        .subquery()
    )
    rows = session.execute(
        select(
            seen.c.engine_key,
            seen.c.priority,
            func.min(seen.c.created_at),
            func.count(),
            func.max(seen.c.weights_bytes),
        ).group_by(seen.c.engine_key, seen.c.priority)
    ).all()
    return [
        Group(engine, priority, since, count, start_seconds(weights))
        for engine, priority, since, count, weights in rows
    ]


def _ahead(session: Session, pool: str) -> Mapping[str, int]:
    """How many batches wait in each worker's own queue."""
    rows = session.execute(
        select(Reproduction.sent_to, func.count(distinct(Reproduction.batch_id)))
        .where(
            Reproduction.pool == pool,
            Reproduction.state == ReproductionState.DISPATCHED,
            Reproduction.sent_to.is_not(None),
        )
        .group_by(Reproduction.sent_to)
    ).all()
    return {name: count for name, count in rows if name is not None}


def _running(session: Session, pool: PoolRules) -> Mapping[str, _Running]:
    """What each worker with a lease works at."""
    held = (
        select(
            Reproduction.worker,
            func.max(Reproduction.engine_key).label("engine"),
            func.max(Reproduction.batch_id).label("batch_id"),
            func.min(Reproduction.since).label("since"),
        )
        .where(
            Reproduction.pool == pool.name,
            Reproduction.state == ReproductionState.RUNNING,
            Reproduction.worker.is_not(None),
        )
        .group_by(Reproduction.worker)
        .subquery()
    )
    rows = session.execute(
        select(
            held.c.worker,
            held.c.engine,
            held.c.since,
            # With those of the batch that came to their end: the whole of it began when the others did.
            func.sum(Reproduction.gpu_seconds),
            func.count() - func.count(Reproduction.gpu_seconds),
            func.count(),
            func.max(Reproduction.weights_bytes),
        )
        .join_from(held, Reproduction, Reproduction.batch_id == held.c.batch_id)
        .group_by(held.c.worker, held.c.engine, held.c.since)
    ).all()
    return {
        worker: _Running(engine, since, None if unknown else _expected(cost, count, weights, pool.gpus))
        for worker, engine, since, cost, unknown, count, weights in rows
    }


def _expected(cost: float, count: int, weights_bytes: int, gpus: int) -> float:
    # Each bears the engine's start in its cost, and the batch starts one at most.
    return start_seconds(weights_bytes) + count * asking_seconds(cost / count, weights_bytes, gpus)


def _free_in(runs: _Running | None) -> float | None:
    if runs is None or runs.expected_seconds is None:
        return None
    return free_in(runs.expected_seconds, (now() - runs.since).total_seconds())
