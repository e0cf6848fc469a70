"""Attempts whose worker fell silent, and reports whose check did: how each ends, or is looked at once more."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from scheduler.collect import kept_reports
from scheduler.collect.ending import end_attempt
from scheduler.collect.heartbeats import AWAITED
from scheduler.collect.waiting_claims import waiting_for_each
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.reaping.overdue import overdue
from scheduler.record import SCHEDULER, add_event
from scheduler.state_machine import ReproductionState
from specs.messages import AttemptOutcome, Stage
from specs.policy.rules import Policy
from specs.policy.run import RunRules

LONG_SILENCE = timedelta(hours=1)
"""Of a worker, which no lease lasts: nobody listened meanwhile. The farm was down for longer than a machine that goes
down with a run and starts again, or its database is one from a backup, which knows of nothing later."""

AWAITED_SECONDS = 60.0
"""For which an attempt is spared once, where its report may wait for rows that a frozen process held: it is tried again
within half a minute (scheduler/control_worker/worker_messages.py), and then waits for the rows once more."""

CHECKS = 3
"""Of one report, where whoever checks it is lost each time: it may be what they died of."""


def end_silent_attempts(database: Database, policy: Policy) -> int:
    """End those whose lease is over, spare them once, or have their report checked once more; returns how many."""
    with database.transaction() as session:
        lost = overdue(session, ReproductionState.RUNNING)
        # All at once and in their order: a scan of their model may lock some of them too.
        waiting_for_each(session, [reproduction.reproduction_id for reproduction in lost])
        for reproduction in lost:
            if _checked_again(session, reproduction, policy.run) or _spared(session, reproduction, policy.run):
                continue
            outcome, silent = _how_lost(session, reproduction, policy.run.lease_seconds)
            end_attempt(session, policy, reproduction, outcome, silent)
        return len(lost)


def _checked_again(session: Session, reproduction: Reproduction, run: RunRules) -> bool:
    """Whether it was not the worker that was lost: its report was put off, or whoever checked it was lost.

    Then it is checked once more.
    """
    attempt = session.get_one(Attempt, (reproduction.reproduction_id, reproduction.attempt))
    if attempt.report is None or attempt.report_checks >= CHECKS:
        return False
    attempt.report_checks += 1
    reproduction.lease_until = now() + timedelta(seconds=run.lease_seconds)
    kept_reports.send_again(session, attempt)
    if attempt.report_checks == 1:
        # It was put off, as its evidence could not be read.
        return True
    why = f"whoever checked the report of attempt {attempt.number} was lost: check {attempt.report_checks} of {CHECKS}"
    add_event(session, SCHEDULER, "reproduction", reproduction.reproduction_id, "report_checked_again", why)
    return True


def _spared(session: Session, reproduction: Reproduction, run: RunRules) -> bool:
    """Whether an attempt is given time once, as nobody could hear that it goes on, or take in its report.

    A process that froze may have held its row, or those of its claims: whoever waits for rows gives up soon and comes
    again, and until the database ends that process's transaction, the lease cannot be renewed nor the report kept.
    """
    attempt = session.get_one(Attempt, (reproduction.reproduction_id, reproduction.attempt))
    long_ago = now() - timedelta(seconds=run.lease_seconds)
    was_held = reproduction.lease_until is not None and reproduction.lease_until < long_ago
    if attempt.report is not None or attempt.stage == Stage.WAITING or AWAITED in reproduction.reason:
        return False
    if attempt.stage != Stage.STORING and not was_held:
        return False
    reproduction.reason = f"attempt {attempt.number}: {AWAITED}"
    reproduction.lease_until = now() + timedelta(seconds=AWAITED_SECONDS)
    return True


def _how_lost(session: Session, reproduction: Reproduction, lease_seconds: float) -> tuple[AttemptOutcome, str]:
    """Whether an attempt whose lease ran out may have had a part in that, and what is known."""
    silent = f"worker {reproduction.worker} has not been heard of for {lease_seconds:.0f} s"
    attempt = session.get_one(Attempt, (reproduction.reproduction_id, reproduction.attempt))
    if attempt.stage == Stage.WAITING:
        return AttemptOutcome.INTERRUPTED, f"{silent}; this one waited behind others of its batch"
    if attempt.report is not None:
        # That may be the report's doing, and the next would be alike: it uses up an attempt.
        return AttemptOutcome.LOST, f"whoever checked its report was lost, {CHECKS} times"
    if attempt.stage == Stage.STORING:
        # The run had ended, so it killed nobody; and a broker that lost a report looks like this.
        return AttemptOutcome.INTERRUPTED, f"{silent} since the run ended: its report got lost, or it died before that"
    since = now() - max(LONG_SILENCE, timedelta(seconds=2 * lease_seconds))
    if attempt.alive_at is not None and attempt.alive_at < since:
        heard = f"worker {reproduction.worker} was last heard of at {attempt.alive_at:%Y-%m-%d %H:%M:%S} UTC"
        return AttemptOutcome.INTERRUPTED, f"{heard}, and then the farm was down, or its database restored"
    if AWAITED in reproduction.reason:
        return AttemptOutcome.INTERRUPTED, f"{silent}, and nobody noticed in time: the control plane was away too"
    return AttemptOutcome.LOST, silent
