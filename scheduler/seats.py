"""Who of a pool takes work, and what waits for whom, as the database knows it: what scheduler/batching.py goes by."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import distinct, func, or_, select
from sqlalchemy.orm import Session

from scheduler.batching import Group, Seat, Waiting
from scheduler.database.tables import Reproduction, Worker, now
from scheduler.machine import ReproductionState
from scheduler.waiting import is_ready
from scheduler.workforce import READY
from specs.messages import WorkerState

HORIZON = 20_000
"""Queued reproductions of a pool that one look sees, the most urgent and oldest: a longer queue costs no more."""


def seats(session: Session, pool: str) -> list[Seat]:
    """The workers of a pool that take work."""
    workers = session.execute(
        select(Worker.name, Worker.state, Worker.engine_key, Worker.asleep).where(
            Worker.pool == pool,
            Worker.state.in_(READY),
            or_(Worker.passed_over_until.is_(None), Worker.passed_over_until < now()),
        )
    ).all()
    if not workers:
        return []
    ahead, running = _ahead(session, pool), _running(session, pool)
    found = []
    for name, state, engine_key, asleep in workers:
        idle = state == WorkerState.IDLE and name not in running
        # One that works will have the engine of its batch, whatever it had when it last spoke of that.
        loaded = engine_key if idle else running.get(name)
        found.append(Seat(name, idle, ahead.get(name, 0), loaded, frozenset(asleep)))
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
    return worker in _running(session, pool)


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
        select(Reproduction.engine_key, Reproduction.priority, Reproduction.created_at)
        .where(*is_ready(pool), Reproduction.engine_key.is_not(None))
        .order_by(Reproduction.priority, Reproduction.created_at)
        .limit(HORIZON)
        .subquery()
    )
    rows = session.execute(
        select(seen.c.engine_key, seen.c.priority, func.min(seen.c.created_at), func.count()).group_by(
            seen.c.engine_key, seen.c.priority
        )
    ).all()
    return [Group(engine, priority, since, count) for engine, priority, since, count in rows]


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


def _running(session: Session, pool: str) -> Mapping[str, str | None]:
    """The engine that each worker with a lease works with."""
    rows = session.execute(
        select(Reproduction.worker, func.max(Reproduction.engine_key))
        .where(Reproduction.pool == pool, Reproduction.state == ReproductionState.RUNNING)
        .group_by(Reproduction.worker)
    ).all()
    return {worker: key for worker, key in rows if worker is not None}
