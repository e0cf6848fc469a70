"""What workers say, taken in: heartbeats renew leases, reports end attempts. Late and double messages are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from scheduler.admission import RunSettings
from scheduler.collect import resuming
from scheduler.collect.ending import end, end_attempt, hand_back
from scheduler.collect.keeping import kept
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Event, Reproduction, now
from scheduler.judging import noise
from scheduler.judging.comparing import judge_claims
from scheduler.judging.evidence import check_evidence
from scheduler.machine import IN_FLIGHT, ReproductionState
from scheduler.planning.waiting_claims import waiting_for
from scheduler.record import MAX_ACTOR_CHARS, add_event, move_reproduction
from specs.errors import EvidenceError
from specs.judging.decision import answered_after
from specs.judging.stopping import Stopping
from specs.measurement import Evidence, Measurement
from specs.messages import AttemptOutcome, AttemptRef, AttemptsAlive, Progress, Report, Stage
from specs.policy.rules import Policy, RunRules
from specs.text import clean


@dataclass(frozen=True)
class Stale:
    """An attempt that a worker should stop: it is no longer the one that counts."""

    ref: AttemptRef
    worker: str


def alive(database: Database, policy: Policy, message: AttemptsAlive) -> list[Stale]:
    """Renew the lease of every attempt that is the current one and this worker's; returns the others."""
    stale: set[AttemptRef] = set()
    with database.transaction() as session:
        # In the order of their ids, as everybody who locks several.
        for progress in sorted(message.progress, key=lambda each: each.ref.reproduction_id):
            current = _current(session, progress.ref, message.worker)
            if current is None:
                stale.add(progress.ref)
            else:
                _renew(session, current, message, progress, policy.run)
    return [Stale(progress.ref, message.worker) for progress in message.progress if progress.ref in stale]


def report(database: Database, policy: Policy, evidence_url: str, message: Report) -> bool:
    """End an attempt as its worker reports it, and draw the consequence, in one transaction.

    Returns whether there may be work to send out on that account: a place in a queue that became free, or the same
    reproduction once more. While the rest of a batch goes on there is none.
    """
    awaited, stopping = _ordered(database, message) if message.measurement is not None else (True, None)
    # All that takes long comes before the transaction: SQLite has one at a time.
    with kept(lambda: _keep(database, policy.run, message), policy.run.heartbeat_seconds):
        # Gigabytes may be read for evidence, and not for whoever sends a report of what is not theirs.
        trouble = _trouble_with(evidence_url, message, stopping) if awaited else None
        checked = message.measurement if trouble is None else None
        answered = answered_after(stopping, checked) if awaited and stopping is not None and checked else None
    with database.transaction() as session:
        current = _current(session, message.ref, message.worker) if awaited else None
        if current is None:
            why = f"report of attempt {message.ref.attempt} by {message.worker} came too late and was dropped"
            if _was_theirs(session, message):
                add_event(
                    session, f"worker:{message.worker}", "reproduction", message.ref.reproduction_id, "late_report", why
                )
            return False
        reproduction = current.reproduction
        trouble = trouble or _not_as_ordered(reproduction, message, answered) or _too_long(policy.run, message)
        if trouble is not None:
            end_attempt(session, policy, reproduction, AttemptOutcome.WORKER_FAILED, f"report refused: {trouble}")
        elif message.measurement is not None and message.evidence is not None:
            _complete(session, current, message.measurement, message.evidence, _shown(message.detail), stopping)
        elif message.outcome is AttemptOutcome.HANDED_BACK:
            resuming.keep(session, reproduction, message.partial)
            hand_back(session, policy, reproduction, message.worker, _shown(message.detail))
        else:
            end_attempt(
                session,
                policy,
                reproduction,
                message.outcome,
                _shown(message.detail),
                retry_after_seconds=message.retry_after_seconds,
            )
    # After the commit: of the last two of a batch that end at once, the later one sees the other's end.
    return reproduction.state != ReproductionState.COMPLETED or not _goes_on(database, reproduction.batch_id)


def _keep(database: Database, run: RunRules, message: Report) -> None:
    with database.transaction() as session:
        current = _current(session, message.ref, message.worker)
        if current is not None:
            current.reproduction.lease_until = now() + timedelta(seconds=run.lease_seconds)


def _goes_on(database: Database, batch_id: str | None) -> bool:
    """Whether anything of a batch is still in flight."""
    with database.looking() as session:
        return session.scalar(_IN_BATCH, {"batch_id": batch_id}) is not None


_IN_BATCH = (
    select(Reproduction.reproduction_id)
    .where(Reproduction.batch_id == bindparam("batch_id"), Reproduction.state.in_(IN_FLIGHT))
    .limit(1)
)


def _complete(
    session: Session,
    current: _Current,
    measurement: Measurement,
    evidence: Evidence,
    detail: str,
    stopping: Stopping | None,
) -> None:
    reproduction, attempt = current
    # Looked up before anything is changed, so that all changes are written at once.
    waiting = waiting_for(session, reproduction.reproduction_id)
    end(attempt, AttemptOutcome.COMPLETED, detail)
    # The last heartbeat is older than the end of the run.
    attempt.samples_done, attempt.samples_total = len(measurement.sample_ids), measurement.population
    attempt.score = measurement.score
    reproduction.measurement = measurement.model_dump(mode="json")
    reproduction.complete = len(measurement.sample_ids) == measurement.population
    reproduction.evidence_sha256, reproduction.evidence_bytes = evidence.sha256, evidence.size_bytes
    why = f"{len(measurement.scored)} of {measurement.population} samples scored"
    if measurement.resumed is not None:
        why += f", {measurement.resumed.samples} of them by an earlier attempt"
    move_reproduction(session, reproduction, ReproductionState.COMPLETED, why)
    with session.no_autoflush:
        noise.record(session, reproduction)
    judge_claims(session, waiting, reproduction, measurement, stopping)


class _Current(NamedTuple):
    reproduction: Reproduction
    attempt: Attempt


def _current(session: Session, ref: AttemptRef, worker: str) -> _Current | None:
    """The reproduction, where this attempt is its current one and no other worker holds it."""
    found = session.execute(_CURRENT, {"reproduction_id": ref.reproduction_id, "number": ref.attempt}).first()
    if found is None:
        return None
    reproduction, attempt = found
    if reproduction.state not in IN_FLIGHT or reproduction.attempt != ref.attempt:
        return None
    return _Current(reproduction, attempt) if reproduction.worker in (None, worker) else None


_CURRENT = (
    select(Reproduction, Attempt)
    .join(Attempt, Attempt.reproduction_id == Reproduction.reproduction_id)
    .where(Reproduction.reproduction_id == bindparam("reproduction_id"), Attempt.number == bindparam("number"))
    # Both, or who waited for the one would see the other as it was before.
    .with_for_update()
)
"""Made once, like the other questions here: every report asks them."""


def _renew(session: Session, current: _Current, message: AttemptsAlive, progress: Progress, run: RunRules) -> None:
    reproduction, attempt = current
    if reproduction.state == ReproductionState.DISPATCHED:
        why = f"attempt {reproduction.attempt} taken by {message.worker}"
        move_reproduction(session, reproduction, ReproductionState.RUNNING, why, f"worker:{message.worker}")
    reproduction.worker = message.worker
    reproduction.lease_until = now() + timedelta(seconds=run.lease_seconds)
    attempt.worker, attempt.alive_at = message.worker, now()
    attempt.started_at = attempt.started_at or attempt.alive_at
    attempt.stage = progress.stage
    # A worker that stores a log has the samples behind it, and says nothing of them.
    if progress.stage is not Stage.STORING:
        attempt.samples_done, attempt.samples_total = progress.samples_done, progress.samples_total
        attempt.score = progress.score
    if progress.log_tail is not None:
        attempt.detail = _shown(progress.log_tail)


def _shown(detail: str) -> str:
    """A worker's words, line by line without what acts on a terminal: they end with what an engine or a spec said."""
    return "\n".join(clean(line, 1000) for line in detail.splitlines())


def _ordered(database: Database, message: Report) -> tuple[bool, Stopping | None]:
    """Whether a report of that attempt by that worker is awaited, and what its run was to stop by.

    The latter was fixed when it was first sent out. An attempt that is not awaited never will be again.
    """
    with database.looking() as session:
        found = session.execute(_ORDERED, {"reproduction_id": message.ref.reproduction_id}).first()
    if found is None:
        return False, None
    stored, state, number, worker = found
    awaited = state in IN_FLIGHT and number == message.ref.attempt and worker in (None, message.worker)
    return awaited, Stopping.model_validate(stored, strict=False) if stored is not None else None


_ORDERED = select(Reproduction.stopping, Reproduction.state, Reproduction.attempt, Reproduction.worker).where(
    Reproduction.reproduction_id == bindparam("reproduction_id")
)


def _was_theirs(session: Session, message: Report) -> bool:
    """Whether a report that comes too late is of an attempt that was its worker's, and is the first such.

    All others are nobody's: the record would else be whoever's who can send reports.
    """
    attempt = session.get(Attempt, (message.ref.reproduction_id, message.ref.attempt))
    if attempt is None or attempt.worker != message.worker:
        return False
    known = select(Event.event_id).where(
        Event.subject == "reproduction",
        Event.subject_id == message.ref.reproduction_id,
        Event.what == "late_report",
        Event.actor == f"worker:{message.worker}"[:MAX_ACTOR_CHARS],
        Event.why.contains(f"report of attempt {message.ref.attempt} by "),
    )
    return session.scalar(known.limit(1)) is None


def _too_long(run: RunRules, message: Report) -> str | None:
    """Why a run cannot have taken as long as its report says, which counts for budgets and forecasts."""
    if message.measurement is None:
        return None
    took = abs((message.measurement.ended_at - message.measurement.started_at).total_seconds())
    # Twice: policy may have changed while it ran, and what ends a run takes its time.
    return f"it says that it took {took:.0f} s" if took > 2 * run.deadline_seconds else None


def _trouble_with(evidence_url: str, message: Report, stopping: Stopping | None) -> str | None:
    """Why the evidence does not bear out the report; None where it does, or none is needed."""
    if message.outcome is not AttemptOutcome.COMPLETED:
        return None
    try:
        check_evidence(evidence_url, message, stopping)
    except EvidenceError as error:
        return str(error)
    return None


def _not_as_ordered(reproduction: Reproduction, message: Report, answered: int | None) -> str | None:
    """Why the report is about something else than was ordered; None where it is not."""
    measured = message.measurement
    ordered: list[tuple[str, object, object]] = [
        ("model", reproduction.model_id, message.model.model_id),
        ("model revision", reproduction.model_revision, message.model.revision),
        ("dataset", reproduction.dataset_id, message.task.dataset_id),
        ("dataset revision", reproduction.dataset_revision, message.task.revision),
        ("task", reproduction.task_id, message.task.task_id),
        ("spec", reproduction.spec_sha256, message.task.spec_sha256),
    ]
    if measured is not None:
        ordered += _settings_ordered(RunSettings.model_validate(reproduction.settings, strict=False), measured)
        ordered.append(("seed", reproduction.seed, measured.circumstances.seed))
        ordered.append(("number of samples", _samples_due(reproduction, measured, answered), len(measured.sample_ids)))
    for name, wanted, found in ordered:
        if wanted != found:
            return f"its {name} is {found!r}, ordered was {wanted!r}"
    return resuming.not_handed_back(reproduction, measured.resumed) if measured is not None else None


def _settings_ordered(settings: RunSettings, measured: Measurement) -> list[tuple[str, object, object]]:
    """What policy says of a run, whose digest its badge will name, beside what the run says that it did."""
    ran = measured.circumstances
    found: list[tuple[str, object, object]] = []
    if settings.epochs is not None:
        found.append(("number of epochs", settings.epochs, ran.epochs))
    if settings.engine.batch_invariant != "where_possible":
        found.append(("choice of kernels", settings.engine.batch_invariant == "required", ran.batch_invariant))
    for name, wanted in settings.generation.model_dump(exclude_none=True).items():
        used = getattr(ran.generation, name)
        # The spec's own come before policy's; a limit of tokens beyond the model's context is none.
        if ran.generation.sources.get(name) != "spec" and not (name == "max_tokens" and used is None):
            found.append((name, wanted, used))
    return found


def _samples_due(reproduction: Reproduction, measured: Measurement, answered: int | None) -> int:
    """How many samples the run had to count: up to where every claim had its answer, else all up to its limit."""
    if answered is not None:
        return answered
    settings = RunSettings.model_validate(reproduction.settings, strict=False)
    return min(settings.sample_limit or measured.population, measured.population)
