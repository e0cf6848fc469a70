"""Attempts whose worker says that it lives, and that go on for longer than a worker lets any: it hangs, or lies."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Select, and_, or_, select

from scheduler.collect.ending import end_attempt
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.reaping.overdue import REAPED_AT_ONCE
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptOutcome, Stage
from specs.policy.rules import Policy
from specs.policy.run import RunRules

STORING_SECONDS = 86_400.0
"""For a log, once its run has ended. No policy's deadline bounds that: while the evidence store is away a worker waits,
for six hours unless its operator says otherwise."""


def longest_seconds(run: RunRules) -> float:
    """What an attempt may take that has begun, until it stores its log: a worker ends it after `deadline_seconds`."""
    return 2 * run.deadline_seconds


def _alive(lease_seconds: float) -> Select[Reproduction]:
    current = and_(Attempt.reproduction_id == Reproduction.reproduction_id, Attempt.number == Reproduction.attempt)
    return (
        select(Reproduction)
        .join(Attempt, current)
        .where(
            Reproduction.state == ReproductionState.RUNNING,
            # A report that is being checked, or waits for its evidence, has an end of its own.
            Attempt.report.is_(None),
            # Where the farm was down for long, its report may wait for somebody to take it in.
            Attempt.alive_at > now() - timedelta(seconds=lease_seconds),
        )
        .order_by(Reproduction.reproduction_id)
        .with_for_update(of=Reproduction, skip_locked=True)
    )


def end_endless_attempts(database: Database, policy: Policy) -> int:
    """End them, which uses up an attempt, and what waits behind them in their batches; returns how many.

    A driver that does not answer, or a disk, holds up a worker's work and not its heartbeats. Another worker may do it:
    one that does not hang ends by itself what takes too long.
    """
    longest = longest_seconds(policy.run)
    late, late_to_store = (now() - timedelta(seconds=each) for each in (longest, longest + STORING_SECONDS))
    with database.transaction() as session:
        endless = session.scalars(
            _alive(policy.run.lease_seconds)
            .where(
                or_(
                    and_(Attempt.begun_at < late, Attempt.stage != Stage.STORING),
                    Attempt.begun_at < late_to_store,
                    # All others of its batch may go before it.
                    and_(
                        Attempt.begun_at.is_(None),
                        Attempt.started_at < now() - timedelta(seconds=(longest + STORING_SECONDS) * policy.run.batch),
                    ),
                )
            )
            .limit(REAPED_AT_ONCE)
        ).all()
        if not endless:
            return 0
        batches = {each.batch_id for each in endless}
        behind = session.scalars(
            _alive(policy.run.lease_seconds)
            .where(
                Reproduction.batch_id.in_(batches),
                Reproduction.reproduction_id.not_in({each.reproduction_id for each in endless}),
                Attempt.stage == Stage.WAITING,
            )
            .limit(REAPED_AT_ONCE)
        ).all()
        for reproduction in endless:
            words = f"worker {reproduction.worker} says that it is at it for more than {longest:.0f} s, and hangs"
            end_attempt(session, policy, reproduction, AttemptOutcome.WORKER_FAILED, words)
        for reproduction in behind:
            words = f"worker {reproduction.worker} hangs; this one waited behind others of its batch"
            end_attempt(session, policy, reproduction, AttemptOutcome.INTERRUPTED, words)
        return len(endless) + len(behind)
