"""The register of workers: as they speak of themselves, and those that have fallen silent.

It decides nothing about attempts, which have leases of their own. A worker's words are checked like everything from
outside: its pool has to be one of the policy's, and there is a limit to how many names are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import EngineLoad, Event, Worker, now
from scheduler.record import SCHEDULER, add_event
from specs.messages import WorkerAlive, WorkerState
from specs.policy.rules import Policy
from specs.queues import own_queue
from specs.text import clean

LOST = "lost"
STATES = (*(str(state) for state in WorkerState), LOST)
READY = (WorkerState.IDLE, WorkerState.BUSY)

MISSED = 3
"""Words that fail to come before a worker is lost."""

MAX_WORKERS = 5000
"""Names that are kept; new ones beyond that are refused."""

LATELY = timedelta(hours=1)
MOST_LOADS = 720
"""Of engines that one worker is believed to have loaded lately: no engine is up in less than five seconds."""

MOST_TOLD = 60
"""Changes of one worker's state that the record takes lately; the list of workers has the latest in any case."""

FORGOTTEN_AFTER = timedelta(days=1)
LOOKED_AT_ONCE = 500

log = logging.getLogger(__name__)


def take(database: Database, policy: Policy, message: WorkerAlive) -> None:
    """Note what a worker says of itself; an event where it is new, back, or in another state that somebody must see."""
    if message.pool not in {pool.name for pool in policy.pools}:
        log.warning("worker %s is of pool %s, which the policy does not have", message.worker, message.pool)
        return
    try:
        _take(database, policy, message)
    except IntegrityError:
        # Two control workers may hear of a new worker at once: the second now finds the row of the first.
        _take(database, policy, message)


def _take(database: Database, policy: Policy, message: WorkerAlive) -> None:
    with database.transaction() as session:
        row = session.get(Worker, message.worker, with_for_update=True)
        if row is None and _is_full(session):
            log.warning("worker %s is not listed: there are %d already", message.worker, MAX_WORKERS)
            return
        if row is not None and _is_late(row, message):
            return
        before = row.state if row is not None else None
        if row is None:
            row = Worker(name=message.worker)
            session.add(row)
        _write(row, policy, message)
        _note_engine(session, message)
        _tell(session, row, before)


def _is_full(session: Session) -> bool:
    return (session.scalar(select(func.count()).select_from(Worker)) or 0) >= MAX_WORKERS


def _is_late(row: Worker, message: WorkerAlive) -> bool:
    """Whether another control worker was quicker to take in a word that was said later.

    Not once that is older than words become on their way: of a worker whose clock was set back, none would count else.
    """
    if row.number is None or message.number is None or message.number >= row.number:
        return False
    return now() - row.seen_at < timedelta(seconds=MISSED * message.every_seconds)


def _write(row: Worker, policy: Policy, message: WorkerAlive) -> None:
    at = now()
    if row.state != message.state:
        row.state, row.since = message.state, at
    row.pool, row.reason = message.pool, clean(message.reason, 2000)
    row.seen_at, row.number = at, message.number
    row.due_at = at + timedelta(seconds=max(MISSED * message.every_seconds, policy.run.lease_seconds))
    row.hardware = clean(message.hardware, 500)
    row.memory = [each.model_dump(mode="json") for each in message.memory]
    row.engine = message.engine.model_dump(mode="json") if message.engine is not None else None
    row.engine_key, row.asleep = message.engine_key, list(message.asleep)


def _note_engine(session: Session, message: WorkerAlive) -> None:
    """Keep that an engine was loaded, once for each engine."""
    engine = message.engine
    if engine is None or session.get(EngineLoad, (message.worker, engine.started_at)) is not None:
        return
    lately = select(EngineLoad.started_at).where(
        EngineLoad.worker == message.worker, EngineLoad.noted_at > now() - LATELY
    )
    if len(session.scalars(lately.limit(MOST_LOADS)).all()) < MOST_LOADS:
        session.add(
            EngineLoad(
                worker=message.worker,
                started_at=engine.started_at,
                pool=message.pool,
                model_id=clean(engine.model, 200),
            )
        )


def _told_enough(session: Session, name: str) -> bool:
    """Whether a worker is in and out of quarantine so often that the record has it already."""
    told = select(Event.event_id).where(Event.subject == "worker", Event.subject_id == name, Event.at > now() - LATELY)
    return len(session.scalars(told.limit(MOST_TOLD)).all()) >= MOST_TOLD


def _tell(session: Session, row: Worker, before: str | None) -> None:
    actor = f"worker:{row.name}"
    if before is None:
        add_event(session, actor, "worker", row.name, "registered", f"pool {row.pool}, {row.hardware}")
    elif before == LOST:
        add_event(session, actor, "worker", row.name, "returned", f"heard of again, {row.state}")
    if before == row.state or WorkerState.QUARANTINED not in (before, row.state) or _told_enough(session, row.name):
        return
    if row.state == WorkerState.QUARANTINED:
        add_event(session, actor, "worker", row.name, "quarantined", row.reason)
    else:
        add_event(session, actor, "worker", row.name, "free", "its device is free and well again")


def find_lost(database: Database) -> int:
    """Mark workers that have been silent for too long; returns how many. One that was stopping has simply gone."""
    with database.transaction() as session:
        silent = session.scalars(
            select(Worker)
            .where(Worker.due_at < now(), Worker.state != LOST)
            .order_by(Worker.due_at)
            .limit(LOOKED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        for row in silent:
            if row.state == WorkerState.DRAINING:
                add_event(session, SCHEDULER, "worker", row.name, "left", "it was asked to stop, and did")
                session.delete(row)
                continue
            why = f"not heard of since {row.seen_at:%Y-%m-%d %H:%M:%S} UTC; it was {row.state}"
            row.state, row.since, row.reason = LOST, now(), why
            add_event(session, SCHEDULER, "worker", row.name, LOST, why)
        return len(silent)


def grant_time(session: Session, until: datetime) -> None:
    """Take no worker for lost before a time; of those that are there, as far as anybody knows."""
    silent = select(Worker.name).where(Worker.due_at < until, Worker.state != LOST)
    # In one order, as everybody who locks several rows.
    names = session.scalars(silent.order_by(Worker.name).with_for_update()).all()
    session.execute(update(Worker).where(Worker.name.in_(names)).values(due_at=until))


def pass_over(session: Session, until: Mapping[str, datetime]) -> None:
    """Have nothing sent to the own queues of workers before a time each, by their names, or the later one set before.

    What is in their pool's queue they take as ever.
    """
    # In one order, as everybody who locks several rows.
    rows = session.scalars(select(Worker).where(Worker.name.in_(until)).order_by(Worker.name).with_for_update()).all()
    for row in rows:
        row.passed_over_until = max(until[row.name], row.passed_over_until or until[row.name])


def tidy(database: Database) -> None:
    """Forget workers that have not been heard of for a day."""
    with database.transaction() as session:
        session.execute(delete(Worker).where(Worker.state == LOST, Worker.seen_at < now() - FORGOTTEN_AFTER))


def own_queues(database: Database) -> set[str]:
    """The queues of the single workers that are listed."""
    with database.reading() as session:
        return {own_queue(pool, name) for pool, name in session.execute(select(Worker.pool, Worker.name))}


@dataclass(frozen=True)
class Crew:
    """The workers of a pool."""

    alive: int
    """All but the lost ones."""

    ready: int
    """Those that take work."""

    @property
    def trouble(self) -> str | None:
        """Why nobody takes what waits for the pool; None where somebody will."""
        if self.ready:
            return None
        return "none of its workers takes work: GET /v1/workers says why" if self.alive else "no worker of it is there"


def crews(session: Session, pools: Collection[str]) -> Mapping[str, Crew]:
    """The workers of each of `pools`."""
    rows = session.execute(
        select(Worker.pool, Worker.state, func.count())
        .where(Worker.pool.in_(pools), Worker.state != LOST)
        .group_by(Worker.pool, Worker.state)
    ).all()
    return {
        pool: Crew(
            alive=sum(number for name, _, number in rows if name == pool),
            ready=sum(number for name, state, number in rows if name == pool and state in READY),
        )
        for pool in pools
    }
