"""Takes batches back from workers' own queues, where they would wait for no good.

A batch in a worker's own queue is nobody else's, however long that worker takes. What it was sent there for, an engine
that is loaded, is worth minutes; so it goes back as soon as its worker takes nothing more, or as another has nothing to
do. The attempt that was sent out ends there: should its message be taken all the same, its number is an old one, and
the worker is told to drop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from scheduler.collect import workforce
from scheduler.collect.ending import queue_again
from scheduler.collect.workforce import READY
from scheduler.database.session import Database
from scheduler.database.tables import OutboxRow, Reproduction, Worker, now
from scheduler.dispatch import seats
from scheduler.dispatch.assignment import OWN_AHEAD, Seat
from scheduler.state_machine import ReproductionState
from specs.messages import WorkerState
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.queues import own_queue

PASSED_OVER = 10
"""In leases: how long a worker gets nothing of its own that left lying what it had."""


@dataclass(frozen=True)
class OwnBatch:
    """A batch in a worker's own queue."""

    batch_id: str
    pool: str
    worker: str

    @property
    def queue(self) -> str:
        """The worker's."""
        return own_queue(self.pool, self.worker)


Withdraw = Callable[[str, str], bool]
"""Takes the message with an id out of a broker's queue (queue, id); whether it was there. Raises where none answers."""


def take_back(database: Database, policy: Policy, withdraw: Withdraw) -> int:
    """Queue again what waits for workers that take nothing more: lost, stopping, quarantined or forgotten ones."""
    with database.reading() as session:
        ready = select(Worker.name).where(Worker.state.in_(READY))
        left = _batches(session, Reproduction.sent_to.not_in(ready))
    for batch in left:
        # In this order: were the message gone first, and this process then too, only the reaper would find out.
        _queue_again(database, policy, batch, f"worker {batch.worker}, for which it waited, takes nothing more")
    for batch in left:
        # For tidiness alone: a worker that comes back would begin with what it must drop.
        withdraw(batch.queue, batch.batch_id)
    return len(left)


def pass_over(database: Database, policy: Policy, withdraw: Withdraw) -> int:
    """Queue again what an idle worker leaves lying, and send that worker nothing of its own for a while.

    Workers have been seen to say that they are there and to take nothing (celery issues 8030 and 10302). What is in the
    pool's queue, another takes.
    """
    patience = timedelta(seconds=policy.run.lease_seconds)
    with database.reading() as session:
        idle = select(Worker.name).where(Worker.state == WorkerState.IDLE, Worker.since < now() - patience)
        left = _batches(session, Reproduction.since < now() - patience, Reproduction.sent_to.in_(idle))
    count = 0
    for batch in left:
        if withdraw(batch.queue, batch.batch_id):
            _queue_again(database, policy, batch, f"worker {batch.worker} is idle and does not take it")
            with database.transaction() as session:
                workforce.pass_over(session, {batch.worker: now() + PASSED_OVER * patience})
            count += 1
    return count


def rebalance(database: Database, policy: Policy, withdraw: Withdraw) -> int:
    """Where workers of a pool have nothing to do, queue again what waits behind what others run."""
    return sum(_rebalance(database, policy, pool, withdraw) for pool in policy.pools)


def _rebalance(database: Database, policy: Policy, pool: PoolRules, withdraw: Withdraw) -> int:
    with database.reading() as session:
        waiting = _batches(session, Reproduction.pool == pool.name)
        if not waiting or seats.common(session, pool.name) or seats.queue(session, pool).groups:
            return 0
        found = seats.seats(session, pool)
    idle = {seat.name for seat in found if seat.idle}
    # Also from one that is passed over, and has no seat: it may have got this before.
    behind = [each for each in waiting if each.worker not in idle]
    count = 0
    for batch in behind[: _with_nothing_to_do(found)]:
        # In this order: only what its worker has not taken may go to another.
        if withdraw(batch.queue, batch.batch_id):
            _queue_again(database, policy, batch, f"another worker is free, and worker {batch.worker} is not yet")
            count += 1
    return count


def _with_nothing_to_do(found: Iterable[Seat]) -> int:
    return sum(seat.idle and seat.ahead < OWN_AHEAD for seat in found)


def _batches(session: Session, *conditions: ColumnElement[bool]) -> list[OwnBatch]:
    """Those in workers' own queues, the most urgent and oldest first."""
    rows = session.execute(
        select(Reproduction.batch_id, Reproduction.pool, Reproduction.sent_to)
        .where(Reproduction.state == ReproductionState.DISPATCHED, Reproduction.sent_to.is_not(None), *conditions)
        .order_by(Reproduction.priority, Reproduction.created_at)
    ).all()
    found = (OwnBatch(batch, pool, worker) for batch, pool, worker in rows if batch is not None and worker is not None)
    return list(dict.fromkeys(found))


def _queue_again(database: Database, policy: Policy, batch: OwnBatch, why: str) -> None:
    with database.transaction() as session:
        rows = session.scalars(
            select(Reproduction)
            .where(Reproduction.batch_id == batch.batch_id, Reproduction.state == ReproductionState.DISPATCHED)
            .order_by(Reproduction.reproduction_id)
            .with_for_update()
        ).all()
        for row in rows:
            queue_again(session, policy, row, why)
        session.execute(delete(OutboxRow).where(OutboxRow.message_id == batch.batch_id, OutboxRow.sent_at.is_(None)))
