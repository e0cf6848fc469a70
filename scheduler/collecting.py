"""What workers say, taken in: heartbeats renew leases, reports end attempts. Late and double messages are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from scheduler import noise, resuming
from scheduler.admission import RunSettings
from scheduler.comparing import judge_claim
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.ending import close, end_attempt, hand_back
from scheduler.evidence import check_evidence
from scheduler.machine import ClaimState, ReproductionState
from scheduler.record import add_event, move_reproduction
from scheduler.stopping import stopping_of
from specs.decision import population_of
from specs.errors import EvidenceError
from specs.measurement import Evidence, Measurement
from specs.messages import AttemptOutcome, AttemptRef, AttemptsAlive, Progress, Report
from specs.policy import Policy, RunRules
from specs.sequential import SequentialDecider
from specs.stopping import stopping_rule
from specs.text import clean

IN_FLIGHT = (ReproductionState.DISPATCHED, ReproductionState.RUNNING)


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
            reproduction = _current(session, progress.ref, message.worker)
            if reproduction is None:
                stale.add(progress.ref)
            else:
                _renew(session, reproduction, message, progress, policy.run)
    return [Stale(progress.ref, message.worker) for progress in message.progress if progress.ref in stale]


def report(database: Database, policy: Policy, evidence_url: str, message: Report) -> None:
    """End an attempt as its worker reports it, and draw the consequence, in one transaction."""
    trouble = _trouble_with(database, evidence_url, message)
    with database.transaction() as session:
        reproduction = _current(session, message.ref, message.worker)
        if reproduction is None:
            why = f"report of attempt {message.ref.attempt} by {message.worker} came too late and was dropped"
            if session.get(Reproduction, message.ref.reproduction_id) is not None:
                add_event(
                    session, f"worker:{message.worker}", "reproduction", message.ref.reproduction_id, "late_report", why
                )
            return
        trouble = trouble or _not_as_ordered(reproduction, message)
        if trouble is not None:
            end_attempt(session, policy, reproduction, AttemptOutcome.WORKER_FAILED, f"report refused: {trouble}")
        elif message.measurement is not None and message.evidence is not None:
            _complete(session, reproduction, message.measurement, message.evidence, _shown(message.detail))
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


def _complete(
    session: Session, reproduction: Reproduction, measurement: Measurement, evidence: Evidence, detail: str
) -> None:
    attempt = close(session, reproduction, AttemptOutcome.COMPLETED, detail)
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
    noise.record(session, reproduction)
    for claim in reproduction.claims:
        if claim.state == ClaimState.PLANNED:
            judge_claim(session, claim, reproduction)


def _current(session: Session, ref: AttemptRef, worker: str) -> Reproduction | None:
    """The reproduction, where this attempt is its current one and no other worker holds it."""
    reproduction = session.get(Reproduction, ref.reproduction_id, with_for_update=True)
    if reproduction is None or reproduction.state not in IN_FLIGHT or reproduction.attempt != ref.attempt:
        return None
    return reproduction if reproduction.worker in (None, worker) else None


def _renew(
    session: Session, reproduction: Reproduction, message: AttemptsAlive, progress: Progress, run: RunRules
) -> None:
    if reproduction.state == ReproductionState.DISPATCHED:
        why = f"attempt {reproduction.attempt} taken by {message.worker}"
        move_reproduction(session, reproduction, ReproductionState.RUNNING, why, f"worker:{message.worker}")
    reproduction.worker = message.worker
    reproduction.lease_until = now() + timedelta(seconds=run.lease_seconds)
    attempt = session.get_one(Attempt, (progress.ref.reproduction_id, progress.ref.attempt))
    attempt.worker, attempt.alive_at = message.worker, now()
    attempt.started_at = attempt.started_at or attempt.alive_at
    attempt.stage, attempt.samples_done = progress.stage, progress.samples_done
    attempt.samples_total, attempt.score = progress.samples_total, progress.score
    if progress.log_tail is not None:
        attempt.detail = _shown(progress.log_tail)


def _shown(detail: str) -> str:
    """A worker's words, line by line without what acts on a terminal: they end with what an engine or a spec said."""
    return "\n".join(clean(line, 1000) for line in detail.splitlines())


def _trouble_with(database: Database, evidence_url: str, message: Report) -> str | None:
    """Why the evidence does not bear out the report; None where it does, or none is needed."""
    if message.outcome is not AttemptOutcome.COMPLETED:
        return None
    with database.reading() as session:
        reproduction = session.get(Reproduction, message.ref.reproduction_id)
        stopping = stopping_of(reproduction) if reproduction is not None else None
    try:
        check_evidence(evidence_url, message, stopping)
    except EvidenceError as error:
        return str(error)
    return None


def _not_as_ordered(reproduction: Reproduction, message: Report) -> str | None:
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
        ordered.append(("seed", reproduction.seed, measured.circumstances.seed))
        ordered.append(("number of samples", _samples_due(reproduction, measured), len(measured.sample_ids)))
    for name, wanted, found in ordered:
        if wanted != found:
            return f"its {name} is {found!r}, ordered was {wanted!r}"
    return resuming.not_handed_back(reproduction, measured.resumed) if measured is not None else None


def _samples_due(reproduction: Reproduction, measured: Measurement) -> int:
    """How many samples the run had to count: up to where every claim had its answer, else all up to its limit."""
    settings = RunSettings.model_validate(reproduction.settings, strict=False)
    all_of_them = min(settings.sample_limit or measured.population, measured.population)
    stopping = stopping_of(reproduction)
    if stopping is None:
        return all_of_them
    decider = SequentialDecider(stopping_rule(stopping, population_of(measured)))
    decider.feed(measured.sample_scores)
    return decider.seen if decider.settled else all_of_them
