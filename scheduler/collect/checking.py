"""What a report is held against before anything follows from it: the evidence, and what was ordered.

All that takes long is done here, before the transaction: SQLite has one at a time, and on PostgreSQL it holds locks.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from scheduler.admission.run_settings import RunSettings
from scheduler.collect import resuming
from scheduler.collect.lost_store import has_lost_its_logs
from scheduler.database.session import Database
from scheduler.database.tables import Reproduction
from scheduler.judging.evidence import MissingEvidenceError, check_evidence
from scheduler.judging.stopping import read_stopping
from scheduler.state_machine import IN_FLIGHT
from scheduler.stored_values import settings_of
from specs.errors import EvidenceAway, EvidenceError
from specs.judging.decision import answered_after
from specs.judging.stopping import Stopping
from specs.measurement import Measurement
from specs.messages import AttemptRef, Report
from specs.policy.run import RunRules
from specs.text import clean


@dataclass(frozen=True)
class Checked:
    """A report, and what its evidence says of it."""

    message: Report
    """Where its evidence bears it out, with what it left out of its measurement, as the log has it."""

    stopping: Stopping | None
    """What the run was to stop by."""

    answered: int | None
    """How many samples it took until every claim had its answer; None where some claim never had one."""

    trouble: str | None
    """Why the evidence does not bear out the report; None where it does, or none is needed."""

    awaited: bool = True
    """Whether it was its worker's to send. What is not awaited never will be again."""


def check(database: Database, evidence_url: str, message: Report) -> Checked:
    """Read the evidence of a report.

    Raises:
        EvidenceAway: it cannot be read now.
        OtherVersion: what was ordered cannot be read by this version.
    """
    measured = message.measurement
    if measured is None:
        return Checked(message, None, None, None)
    awaited, stopping = _ordered(database, message)
    if not awaited:
        # Gigabytes may be read for evidence, and not for whoever sends a report of what is not theirs.
        return Checked(message, stopping, None, None, awaited=False)
    try:
        measured = _borne_out(database, evidence_url, message, stopping)
    except EvidenceError as error:
        return Checked(message, stopping, None, str(error))
    answered = answered_after(stopping, measured) if stopping is not None else None
    return Checked(message.model_copy(update={"measurement": measured}), stopping, answered, None)


def not_as_ordered(reproduction: Reproduction, checked: Checked, run: RunRules) -> str | None:
    """Why a report is about something else than was ordered; None where it is not."""
    message, measured = checked.message, checked.message.measurement
    ordered: list[tuple[str, object, object]] = [
        ("model", reproduction.model_id, message.model.model_id),
        ("model revision", reproduction.model_revision, message.model.revision),
        ("dataset", reproduction.dataset_id, message.task.dataset_id),
        ("dataset revision", reproduction.dataset_revision, message.task.revision),
        ("task", reproduction.task_id, message.task.task_id),
        ("spec", reproduction.spec_sha256, message.task.spec_sha256),
    ]
    if measured is not None:
        settings = settings_of(reproduction)
        ordered += _settings_ordered(settings, measured)
        ordered.append(("seed", reproduction.seed, measured.circumstances.seed))
        due = _samples_due(settings, measured, checked.answered)
        ordered.append(("number of samples", due, len(measured.sample_ids)))
    for name, wanted, found in ordered:
        if wanted != found:
            return f"its {name} is {found!r}, ordered was {wanted!r}"
    if measured is None:
        return None
    return resuming.not_handed_back(reproduction, measured.resumed) or _too_long(run, measured)


def _ordered(database: Database, message: Report) -> tuple[bool, Stopping | None]:
    """Whether a report of that attempt by that worker is awaited, and what its run was to stop by.

    The latter was fixed when it was first sent out.
    """
    with database.looking() as session:
        found = session.execute(_ORDERED, {"reproduction_id": message.ref.reproduction_id}).first()
    if found is None:
        return False, None
    stored, state, number, worker, batch_id = found
    awaited = state in IN_FLIGHT and number == message.ref.attempt and worker in (None, message.worker)
    return awaited and message.batch_id in (None, batch_id), read_stopping(stored)


_ORDERED = select(
    Reproduction.stopping, Reproduction.state, Reproduction.attempt, Reproduction.worker, Reproduction.batch_id
).where(Reproduction.reproduction_id == bindparam("reproduction_id"))


def _too_long(run: RunRules, measured: Measurement) -> str | None:
    """Why a run cannot have taken as long as its report says, which counts for budgets and forecasts."""
    took = abs((measured.ended_at - measured.started_at).total_seconds())
    # Twice: policy may have changed while it ran, and what ends a run takes its time.
    return f"it says that it took {took:.0f} s" if took > 2 * run.deadline_seconds else None


def _borne_out(database: Database, evidence_url: str, message: Report, stopping: Stopping | None) -> Measurement:
    try:
        return check_evidence(evidence_url, message, stopping)
    except MissingEvidenceError as error:
        _blame_the_store(database, evidence_url, message.ref, error)
        raise


def _blame_the_store(database: Database, evidence_url: str, ref: AttemptRef, missing: MissingEvidenceError) -> None:
    try:
        lost = has_lost_its_logs(database, evidence_url, ref)
    except SQLAlchemyError:
        raise
    except Exception as error:  # every remote store has errors of its own
        raise EvidenceAway(f"the evidence store cannot be read: {clean(str(error), 300)}") from error
    if lost:
        raise EvidenceAway(
            f"{missing}, and neither is any of before: that store lost what it held, or workers write elsewhere"
        )


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


def _samples_due(settings: RunSettings, measured: Measurement, answered: int | None) -> int:
    """How many samples the run had to count: up to where every claim had its answer, else all up to its limit."""
    if answered is not None:
        return answered
    return min(settings.sample_limit or measured.population, measured.population)
