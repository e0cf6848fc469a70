"""Finds what got lost: attempts whose worker fell silent, messages that a broker forgot, runs that nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from sqlalchemy import ColumnElement, exists, or_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from scheduler.collect import kept_reports, workforce
from scheduler.collect.ending import close, end_attempt, give_up, message_lost
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Marker, OutboxRow, Reproduction, now
from scheduler.database.tables.marker import REAPER_LOOKED
from scheduler.record import SCHEDULER, add_event, move_reproduction
from scheduler.setting_aside import IS_SET_ASIDE
from scheduler.state_machine import ACTIVE, IN_FLIGHT, ClaimState, ReproductionState
from specs.messages import AttemptOutcome, Stage
from specs.policy.rules import Policy, RunRules
from specs.queues import own_queue, pool_queue

REAPED_AT_ONCE = 500
"""Reproductions of one kind that one transaction sets right; the rest has its turn a heartbeat later."""

LONG_SILENCE = timedelta(hours=1)
"""Of a worker, which no lease lasts: nobody listened meanwhile. The farm was down for longer than a machine that goes
down with a run and starts again, or its database is one from a backup, which knows of nothing later."""

CHECKS = 3
"""Of one report, where whoever checks it is lost each time: it may be what they died of."""

QueuedIds = Callable[[str], set[str]]
"""The ids of the messages that wait in a broker queue; raises where the broker does not answer."""


def reap(database: Database, policy: Policy, queued_ids: QueuedIds) -> int:
    """Set right what got lost; returns how many reproductions were touched."""
    grant_time(database, policy.run)
    return (
        _lost_attempts(database, policy)
        + _lost_messages(database, policy, queued_ids)
        + _never_taken(database, policy)
        + _unneeded(database)
    )


def grant_time(database: Database, run: RunRules) -> None:
    """Where nobody looked for a while, nobody listened either: give workers a lease's time to say that they work.

    Their heartbeats still lie in the queue, or were lost with the broker. To take them for dead would start every run
    of the farm over whenever the control plane, the broker or the database was away for longer than a lease. So it is
    with what they took meanwhile, of which nobody has heard yet: also from their own queues, from which all is taken
    back of a worker that is lost.
    """
    patience = timedelta(seconds=max(run.lease_seconds / 2, 3 * run.heartbeat_seconds))
    try:
        with database.transaction() as session:
            last = session.get(Marker, REAPER_LOOKED, with_for_update=True)
            if last is None:
                session.add(Marker(name=REAPER_LOOKED, held_until=now()))
                return
            if last.held_until < now() - patience:
                # In the order of their ids, as everybody who locks several: heartbeats come in meanwhile.
                sent_out = Reproduction.state.in_(IN_FLIGHT)
                locked = select(Reproduction.reproduction_id).where(sent_out).order_by(Reproduction.reproduction_id)
                session.execute(locked.with_for_update())
                until = now() + timedelta(seconds=run.lease_seconds)
                # None is cut short: it may be of a batch whose worker was told to speak more seldom.
                shorter = or_(Reproduction.lease_until.is_(None), Reproduction.lease_until < until)
                session.execute(update(Reproduction).where(sent_out, shorter).values(lease_until=until))
                workforce.grant_time(session, until)
            last.held_until = now()
    except IntegrityError:
        # Another reaper of a new farm was first.
        return


def _lost_attempts(database: Database, policy: Policy) -> int:
    with database.transaction() as session:
        lost = _overdue(session, ReproductionState.RUNNING)
        for reproduction in lost:
            if _checked_again(session, reproduction, policy.run):
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
    if reproduction.lease_until is not None and reproduction.lease_until < now() - timedelta(seconds=lease_seconds):
        return AttemptOutcome.INTERRUPTED, f"{silent}, and nobody noticed in time: the control plane was away too"
    return AttemptOutcome.LOST, silent


def _lost_messages(database: Database, policy: Policy, queued_ids: QueuedIds) -> int:
    """Queue again what was dispatched, is not in the broker's queue, and was taken by no worker."""
    with database.reading() as session:
        overdue = _overdue(session, ReproductionState.DISPATCHED)
        if not overdue:
            return 0
        batches = {row.batch_id for row in overdue if row.batch_id is not None}
        # Asked before the broker is: a message that is sent in between is found in one of the two.
        unsent = _unsent(session, batches)
    waiting = {queue: queued_ids(queue) for queue in {_queue_of(row) for row in overdue}}
    count = 0
    with database.transaction() as session:
        # Of these batches alone: what is overdue since, was another reaper's then, or was sent once more meanwhile, may
        # wait in a queue that was not asked, or was asked too early.
        for reproduction in _overdue(session, ReproductionState.DISPATCHED, batches):
            if reproduction.batch_id in unsent or reproduction.batch_id in waiting[_queue_of(reproduction)]:
                _keep_waiting(session, policy, reproduction)
            else:
                message_lost(session, policy, reproduction)
                count += 1
    return count


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
        late = f"no worker of pool {reproduction.pool} took it within {policy.run.queue_seconds:.0f} s"
        end_attempt(session, policy, reproduction, AttemptOutcome.TIMED_OUT, late)
    else:
        reproduction.lease_until = now() + timedelta(seconds=policy.run.lease_seconds)


def _never_taken(database: Database, policy: Policy) -> int:
    """Give up on what has been queued for too long: its pool has no workers, too few, or left the policy.

    Not on what could not be sent to any: that waits for the operator.
    """
    patience = timedelta(seconds=policy.run.queue_seconds)
    pools = {pool.name for pool in policy.pools}
    with database.transaction() as session:
        late = session.scalars(
            select(Reproduction)
            .where(Reproduction.state == ReproductionState.QUEUED, Reproduction.since < now() - patience, ~IS_SET_ASIDE)
            .order_by(Reproduction.since)
            .limit(REAPED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        for reproduction in late:
            gone = "" if reproduction.pool in pools else ", which is not in the farm's policy any more,"
            why = f"no worker of pool {reproduction.pool}{gone} took it within {policy.run.queue_seconds:.0f} s"
            give_up(session, reproduction, f"{why}; the farm's operator must act")
        return len(late)


def _unneeded(database: Database) -> int:
    """Cancel what no claim waits for any more; a worker that runs it is told at its next heartbeat."""
    with database.transaction() as session:
        idle = session.scalars(
            select(Reproduction)
            .where(Reproduction.state.in_(ACTIVE), ~_is_waited_for())
            .order_by(Reproduction.created_at)
            .limit(REAPED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        # Asked once more, now that nobody can join them: a claim that did while they were looked for was not seen.
        names = [reproduction.reproduction_id for reproduction in idle]
        joined = set(
            session.scalars(
                select(Reproduction.reproduction_id).where(Reproduction.reproduction_id.in_(names), _is_waited_for())
            )
        )
        idle = [reproduction for reproduction in idle if reproduction.reproduction_id not in joined]
        for reproduction in idle:
            why = "no claim waits for it any more"
            if reproduction.state != ReproductionState.QUEUED:
                close(session, reproduction, AttemptOutcome.CANCELLED, why)
            move_reproduction(session, reproduction, ReproductionState.CANCELLED, why)
        return len(idle)


def _is_waited_for() -> ColumnElement[bool]:
    return exists().where(Claim.reproduction_id == Reproduction.reproduction_id, Claim.state == ClaimState.PLANNED)


def _overdue(session: Session, state: ReproductionState, batches: Collection[str] | None = None) -> list[Reproduction]:
    return list(
        session.scalars(
            select(Reproduction)
            .where(
                Reproduction.state == state,
                Reproduction.lease_until < now(),
                Reproduction.batch_id.in_(batches) if batches is not None else true(),
            )
            .order_by(Reproduction.lease_until)
            .limit(REAPED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
    )
