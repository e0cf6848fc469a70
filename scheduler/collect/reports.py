"""Reports, taken in: they end attempts. Late and double ones are dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from scheduler.collect import checking, kept_reports, resuming, workforce
from scheduler.collect.checking import Checked, not_as_ordered
from scheduler.collect.current_attempts import (
    ROW_SECONDS,
    CurrentAttempt,
    current_attempts,
    is_current,
    taken_by,
)
from scheduler.collect.ending import end, end_attempt, hand_back
from scheduler.collect.lease_renewal import renewing
from scheduler.collect.waiting_claims import waiting_for_each
from scheduler.database.postgres import wait_briefly_for_rows
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Event, Reproduction, now
from scheduler.judging import noise
from scheduler.judging.comparing import judge_claims
from scheduler.own_faults import OURS
from scheduler.record import MAX_ACTOR_CHARS, MAX_REASON_CHARS, SCHEDULER, add_event, move_reproduction
from scheduler.state_machine import IN_FLIGHT, ReproductionState
from scheduler.stored_values import OtherVersion
from specs.errors import EvidenceAway
from specs.measurement import Evidence, Measurement
from specs.messages import AttemptOutcome, Report, Stage
from specs.policy.rules import Policy
from specs.policy.run import RunRules
from specs.text import clean, clean_lines

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=15)
"""Before evidence that could not be read is looked for again: a quarter of the time for which it was not, within these.
Each time the whole report is a message once more."""

_ITS_WORKERS = (AttemptOutcome.WORKER_FAILED, AttemptOutcome.DISK_FULL)
"""How an attempt ends that another worker may bring to its end, and whose engine stays up: the next would go to where
that is. A Hub or a judge that is away is so for all workers, as a rule."""

_LATER = (EvidenceAway, OtherVersion)
"""What of a report is nobody's failure, and passes: then it is put off."""

_FAULTS = (*OURS, IntegrityError)
"""What one report raises that a bug of ours cannot cope with."""

log = logging.getLogger(__name__)


def report(
    database: Database,
    policy: Policy,
    evidence_url: str,
    message: Report,
    commit: Callable[[Checked], bool] | None = None,
) -> bool:
    """End an attempt as its worker reports it, and draw the consequence: `check`, then `take_in`.

    `commit` takes it in where that is not to be done for it alone. What cannot be taken in now is kept for later, and
    what meets a fault of ours ends the attempt as a failure. Returns whether there may be work to send out on that
    account.

    Raises:
        OperationalError: the database is away, or somebody else holds a row for `ROW_SECONDS`; it is to be tried again.
    """
    try:
        checked = check(database, policy, evidence_url, message)
        return commit(checked) if commit is not None else take_in(database, policy, [checked])[0]
    except _LATER as error:
        log.warning("a report is kept, and checked later: %s", error)
        _put_off(database, policy, message, error)
        return False
    except _FAULTS as error:
        _set_aside(database, policy, message, error)
        return True


def check(database: Database, policy: Policy, evidence_url: str, message: Report) -> Checked:
    """Hold a report against its evidence, which may take long.

    Meanwhile the attempt's lease is renewed, and the report kept: should this process die, it is checked once more
    (scheduler/reaping/silent_attempts.py) instead of hours of a GPU being run again.

    Raises:
        EvidenceAway: the evidence cannot be read now; then the report is put off.
        OtherVersion: what was ordered cannot be read by this version; likewise.
    """
    with renewing(lambda: _keep(database, policy.run, message), policy.run.heartbeat_seconds):
        return checking.check(database, evidence_url, message)


def _put_off(database: Database, policy: Policy, message: Report, error: EvidenceAway | OtherVersion) -> None:
    """Keep a report that cannot be taken in now; once a pause is over, the reaper has it checked again.

    For `queue_seconds`, like everything that waits for what passes. That is no attempt used up, and nobody's failure.
    """
    with database.transaction() as session:
        current = _taken(session, message)
        if current is None:
            return
        reproduction, attempt = current
        # Its worker says nothing of it after its report.
        attempt.alive_at = attempt.alive_at or now()
        waited = now() - attempt.alive_at
        if waited > timedelta(seconds=policy.run.queue_seconds):
            what = "its evidence could not be read" if isinstance(error, EvidenceAway) else "it could not be taken in"
            ever = f"{what} for {policy.run.queue_seconds:.0f} s: {error}"
            end_attempt(session, policy, reproduction, AttemptOutcome.INTERRUPTED, ever)
            return
        until = "its evidence" if isinstance(error, EvidenceAway) else "what was ordered"
        why = f"attempt {attempt.number} is done, and {kept_reports.KEPT} {until} can be read: {error}"
        if kept_reports.KEPT not in reproduction.reason:
            add_event(session, SCHEDULER, "reproduction", reproduction.reproduction_id, "report_put_off", why)
        reproduction.reason = clean(why, MAX_REASON_CHARS)
        attempt.report, attempt.report_checks = message.encode(), 0
        reproduction.lease_until = now() + min(max(waited / 4, FIRST_PAUSE), LONGEST_PAUSE)


def _set_aside(database: Database, policy: Policy, message: Report, error: Exception) -> None:
    """End an attempt whose report met a fault of ours, for that reason: a failure, of which there are so many at most.

    Were it dropped, it would count as a report that got lost, and its run be done again and again for a week.
    """
    log.error("a report cannot be taken in", exc_info=error)
    words = f"its report could not be taken in: {type(error).__name__}, of which the control worker's log tells more"
    if message.evidence is not None:
        words += f". Its log is kept as evidence {message.evidence.sha256}"
    with database.transaction() as session:
        current = _taken(session, message)
        if current is not None:
            end_attempt(session, policy, current.reproduction, AttemptOutcome.WORKER_FAILED, words)


def take_in(database: Database, policy: Policy, reports: Sequence[Checked]) -> list[bool]:
    """End attempts as their workers report it, and draw the consequences, in one transaction.

    Returns for each whether there may be work to send out on its account: a place in a queue that became free, or the
    same reproduction once more. While the rest of a batch goes on there is none.

    Raises:
        OperationalError: somebody else holds a row for `ROW_SECONDS`; whose it is, is tried again.
    """
    with database.transaction() as session:
        wait_briefly_for_rows(session, ROW_SECONDS)
        current = current_attempts(session, [each.message.ref for each in reports])
        said = [each.message for each in reports]
        ids = [each.ref.reproduction_id for each in said if is_current(current, each, each.ref)]
        # Looked up before anything is changed, so that all changes are written at once; and locked in their order.
        waiting = waiting_for_each(session, ids)
        ended = [_take_in(session, policy, each, current, waiting) for each in reports]
        _pass_over(session, policy.run, reports, ended)
    # After the commit: of the last two of a batch that end at once, the later one sees the other's end.
    done = [each for each in ended if each is not None and each.state == ReproductionState.COMPLETED]
    going_on = _going_on(database, {each.batch_id for each in done})
    return [_makes_room(each, going_on) for each in ended]


def _pass_over(
    session: Session, run: RunRules, reports: Sequence[Checked], ended: Sequence[Reproduction | None]
) -> None:
    """Have what failed by its worker's fault go to another that is idle, if there is one when it is tried again."""
    until: dict[str, datetime] = {}
    for each, reproduction in zip(reports, ended, strict=True):
        if reproduction is None or reproduction.not_before is None or reproduction.state != ReproductionState.QUEUED:
            continue
        if reproduction.attempts[-1].outcome in _ITS_WORKERS:
            # The dispatcher needs a moment to see that it is due.
            due, worker = reproduction.not_before + timedelta(seconds=run.lease_seconds), each.message.worker
            until[worker] = max(due, until.get(worker, due))
    if until:
        workforce.pass_over(session, until)


def _makes_room(reproduction: Reproduction | None, going_on: Collection[str | None]) -> bool:
    """Whether there may be work to send out now that a report was taken in, which came too late where this is None."""
    if reproduction is None:
        return False
    return reproduction.state != ReproductionState.COMPLETED or reproduction.batch_id not in going_on


def _take_in(
    session: Session,
    policy: Policy,
    checked: Checked,
    current: Mapping[str, CurrentAttempt],
    waiting: Mapping[str, Sequence[Claim]],
) -> Reproduction | None:
    """End one attempt; returns its reproduction, or None where the report came too late."""
    message = checked.message
    run_id = message.ref.reproduction_id
    if not checked.awaited or not is_current(current, message, message.ref):
        why = f"report of attempt {message.ref.attempt} by {message.worker} came too late and was dropped"
        if _was_theirs(session, message):
            add_event(session, f"worker:{message.worker}", "reproduction", run_id, "late_report", why)
        return None
    reproduction = current[run_id].reproduction
    trouble = checked.trouble or not_as_ordered(reproduction, checked, policy.run)
    if trouble is not None:
        end_attempt(session, policy, reproduction, AttemptOutcome.WORKER_FAILED, f"report refused: {trouble}")
    elif message.measurement is not None and message.evidence is not None:
        _complete(session, current[run_id], message.measurement, message.evidence, checked, waiting[run_id])
    elif message.outcome is AttemptOutcome.HANDED_BACK:
        resuming.keep(session, reproduction, message.partial)
        hand_back(session, policy, reproduction, message.worker, clean_lines(message.detail))
    else:
        resuming.keep(session, reproduction, message.partial)
        end_attempt(
            session,
            policy,
            reproduction,
            message.outcome,
            clean_lines(message.detail),
            retry_after_seconds=message.retry_after_seconds,
        )
    return reproduction


def _keep(database: Database, run: RunRules, message: Report) -> None:
    with database.transaction() as session:
        # One thread renews all leases.
        wait_briefly_for_rows(session, ROW_SECONDS)
        current = _taken(session, message)
        if current is not None:
            reproduction, attempt = current
            # The run has ended, and kills no worker any more.
            attempt.stage = Stage.STORING
            reproduction.lease_until = now() + timedelta(seconds=run.lease_seconds)
            if not attempt.report_checks:
                attempt.report, attempt.report_checks = message.encode(), 1


def _taken(session: Session, message: Report) -> CurrentAttempt | None:
    """The attempt that a report is of, recorded as its worker's; None where it is not current."""
    current = current_attempts(session, [message.ref])
    if not is_current(current, message, message.ref):
        return None
    found = current[message.ref.reproduction_id]
    # Its report may be the first that is heard of a run that was short.
    taken_by(session, found, message.worker)
    return found


def _going_on(database: Database, batch_ids: Collection[str | None]) -> set[str | None]:
    """The batches of which anything is still in flight."""
    if not batch_ids:
        return set()
    with database.looking() as session:
        return set(session.scalars(_IN_BATCH, {"batch_ids": list(batch_ids)}))


_IN_BATCH = (
    select(Reproduction.batch_id)
    .where(Reproduction.batch_id.in_(bindparam("batch_ids", expanding=True)), Reproduction.state.in_(IN_FLIGHT))
    .distinct()
)


def _complete(
    session: Session,
    current: CurrentAttempt,
    measurement: Measurement,
    evidence: Evidence,
    checked: Checked,
    waiting: Sequence[Claim],
) -> None:
    reproduction, attempt = current
    end(attempt, AttemptOutcome.COMPLETED, clean_lines(checked.message.detail))
    # The last heartbeat is older than the end of the run.
    attempt.samples_done, attempt.samples_total = len(measurement.sample_ids), measurement.population
    attempt.score = measurement.score
    reproduction.measurement = measurement.model_dump(mode="json")
    reproduction.complete = len(measurement.sample_ids) == measurement.population
    reproduction.evidence_sha256, reproduction.evidence_bytes = evidence.sha256, evidence.size_bytes
    why = f"{len(measurement.scored)} of {measurement.population} samples scored"
    if not reproduction.complete:
        why += f", {_why_no_more(checked, measurement)}"
    if measurement.resumed is not None:
        why += f"; {measurement.resumed.samples} of them by an earlier attempt"
    move_reproduction(session, reproduction, ReproductionState.COMPLETED, why)
    with session.no_autoflush:
        noise.record(session, reproduction)
    judge_claims(session, waiting, reproduction, measurement, checked.stopping)


def _why_no_more(checked: Checked, measurement: Measurement) -> str:
    if checked.answered is None:
        return "as many as policy lets a run ask"
    then = "where the last claim on the run had its answer"
    return f"{then}; {measurement.ignored} more were in flight and count for nothing" if measurement.ignored else then


def _was_theirs(session: Session, message: Report) -> bool:
    """Whether a report that comes too late is of an attempt that was its worker's, and is the first such.

    All others are nobody's: the record would else be whoever's who can send reports. One of which the attempt ended was
    taken in, and came again: the broker may deliver it twice, and a database that goes away has it tried again.
    """
    attempt = session.get(Attempt, (message.ref.reproduction_id, message.ref.attempt))
    if attempt is None or attempt.worker != message.worker or attempt.outcome == message.outcome:
        return False
    if message.batch_id not in (None, attempt.batch_id):
        return False
    known = select(Event.event_id).where(
        Event.subject == "reproduction",
        Event.subject_id == message.ref.reproduction_id,
        Event.what == "late_report",
        Event.actor == f"worker:{message.worker}"[:MAX_ACTOR_CHARS],
        Event.why.contains(f"report of attempt {message.ref.attempt} by "),
    )
    return session.scalar(known.limit(1)) is None
