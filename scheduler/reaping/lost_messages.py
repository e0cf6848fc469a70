"""Batches that were sent out and are nowhere any more: neither in the broker's queue nor taken by a worker."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.collect.ending import end_attempt, message_lost
from scheduler.database.session import Database
from scheduler.database.tables import OutboxRow, Reproduction, now
from scheduler.reaping.absence import patience
from scheduler.reaping.overdue import overdue
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptOutcome
from specs.policy.rules import Policy
from specs.policy.run import RunRules
from specs.queues import own_queue, pool_queue

QueuedIds = Callable[[str], set[str]]
"""The ids of the messages that wait in a broker queue; raises where the broker does not answer."""


def send_lost_messages_again(database: Database, policy: Policy, queued_ids: QueuedIds) -> int:
    """Queue again what was dispatched, is not in the broker's queue, and was taken by no worker; returns how many."""
    with database.reading() as session:
        late = overdue(session, ReproductionState.DISPATCHED)
        if not late:
            return 0
        batches = {row.batch_id for row in late if row.batch_id is not None}
        # Asked before the broker is: a message that is sent in between is found in one of the two.
        unsent = _unsent(session, batches)
    waiting = {queue: queued_ids(queue) for queue in {_queue_of(row) for row in late}}
    long_ago = now() - heard_within(policy.run)
    count = 0
    with database.transaction() as session:
        # Of these batches alone: what is overdue since, was another reaper's then, or was sent once more meanwhile, may
        # wait in a queue that was not asked, or was asked too early.
        for reproduction in overdue(session, ReproductionState.DISPATCHED, batches):
            if reproduction.batch_id in unsent or reproduction.batch_id in waiting[_queue_of(reproduction)]:
                _keep_waiting(session, policy, reproduction)
            elif reproduction.lease_until is None or reproduction.lease_until < long_ago:
                message_lost(session, policy, reproduction)
                count += 1
    return count


def heard_within(run: RunRules) -> timedelta:
    """How long after its lease what is in no queue may still be heard of: a worker took it just now.

    It may have waited in a queue until then, unseen since the reaper looked last, and its first heartbeat follows.
    """
    return patience(run) + timedelta(seconds=run.heartbeat_seconds)


def _unsent(session: Session, batch_ids: Collection[str]) -> set[str]:
    """Of some batches, those whose message waits to be sent: for a broker that was away, or for its turn."""
    messages = select(OutboxRow.message_id).where(OutboxRow.message_id.in_(batch_ids), OutboxRow.sent_at.is_(None))
    return set(session.scalars(messages))


def _queue_of(reproduction: Reproduction) -> str:
    """Where the message of a dispatched one waits."""
    if reproduction.sent_to is None:
        return pool_queue(reproduction.pool)
    return own_queue(reproduction.pool, reproduction.sent_to)


def _keep_waiting(session: Session, policy: Policy, reproduction: Reproduction) -> None:
    waited = now() - reproduction.since
    if waited > timedelta(seconds=policy.run.queue_seconds):
        why = f"no worker of pool {reproduction.pool} took it within {policy.run.queue_seconds:.0f} s"
        end_attempt(session, policy, reproduction, AttemptOutcome.TIMED_OUT, why)
    else:
        reproduction.lease_until = now() + timedelta(seconds=policy.run.lease_seconds)
