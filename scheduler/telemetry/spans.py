"""Spans of what the database knows to be over, for a collector of traces: stages that no process sees from end to end.

It hears of a change once the change is committed, and reads the times from the rows. Should the process die in between,
the span is missing: a trace is a picture of what happened, and no record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from scheduler.database.session import Database, written
from scheduler.database.tables import Attempt, Claim, Event, Reproduction
from scheduler.state_machine import ACTIVE, ENDED, ClaimState, ReproductionState
from specs.messages import AttemptOutcome
from specs.processes.spans import PastSpan, Place, Spans, Value

BLAMELESS = (AttemptOutcome.COMPLETED, AttemptOutcome.HANDED_BACK, AttemptOutcome.CANCELLED)

log = logging.getLogger(__name__)


def trace_changes(database: Database, spans: Spans) -> None:
    """Have this database's changes told by this process, where there is somebody to be told."""
    if not spans.enabled:
        return

    def tell(session: Session) -> None:
        try:
            for line in written(session):
                with database.reading() as reading:
                    for span in spans_of(reading, line["subject"], line["subject_id"], line["what"]):
                        spans.tell(span)
        except Exception:
            # The change itself is committed, and nothing of it may fail any more.
            log.exception("a trace is incomplete")

    event.listen(database.sessions, "after_commit", tell)


def spans_of(session: Session, subject: str, subject_id: str, what: str) -> Iterator[PastSpan]:
    """What is over now that this happened to a claim or a reproduction."""
    if subject == "claim" and what == ClaimState.DECIDED:
        yield from _of_claim(session, session.get_one(Claim, subject_id))
    elif subject == "reproduction" and what in (ReproductionState.QUEUED, *ENDED):
        yield from _of_reproduction(session, session.get_one(Reproduction, subject_id))


def _of_claim(session: Session, claim: Claim) -> Iterator[PastSpan]:
    root = Place.of_claim(claim.claim_id)
    run = claim.reproduction_id
    links = (Place.of_reproduction(run),) if run else ()
    outcome = claim.verdict.outcome if claim.verdict else None
    facts: dict[str, Value | None] = {
        "claim_id": claim.claim_id,
        "model": claim.model_id,
        "dataset": claim.dataset_id,
        "task": claim.task_id,
        "outcome": outcome,
        "reproduction_id": run,
    }
    yield PastSpan(root, None, claim.created_at, claim.since, facts, links)
    planned_at = session.scalar(
        select(Event.at)
        .where(Event.subject == "claim", Event.subject_id == claim.claim_id, Event.what == ClaimState.PLANNED)
        .order_by(Event.event_id.desc())
        .limit(1)
    )
    # One that is decided at once was never planned: then the verdict is what planning came to.
    yield PastSpan(Place(claim.claim_id, "plan"), root, claim.created_at, planned_at or claim.since)


def _of_reproduction(session: Session, run: Reproduction) -> Iterator[PastSpan]:
    root = Place.of_reproduction(run.reproduction_id)
    last = run.attempts[-1] if run.attempts else None
    if last is not None and last.ended_at is not None:
        yield from _of_attempt(run, last, run.attempts[-2] if len(run.attempts) > 1 else None)
    if run.state in ACTIVE:
        return
    claims = session.scalars(select(Claim.claim_id).where(Claim.reproduction_id == run.reproduction_id)).all()
    facts: dict[str, Value | None] = {
        "reproduction_id": run.reproduction_id,
        "model": run.model_id,
        "model_revision": run.model_revision,
        "dataset": run.dataset_id,
        "task": run.task_id,
        "pool": run.pool,
        "state": run.state,
        "attempts": run.attempt,
        "gpu_seconds": run.gpu_seconds,
    }
    failed = run.state if run.state == ReproductionState.FAILED else None
    links = tuple(Place.of_claim(each) for each in claims)
    yield PastSpan(root, None, run.created_at, run.since, facts, links, failed)


def _of_attempt(run: Reproduction, attempt: Attempt, before: Attempt | None) -> Iterator[PastSpan]:
    if attempt.ended_at is None:
        return
    root = Place.of_reproduction(run.reproduction_id)
    place = Place.of_attempt(run.reproduction_id, attempt.number)
    queued_at = before.ended_at if before is not None and before.ended_at is not None else run.created_at
    queue = Place(run.reproduction_id, "queue", attempt.number)
    yield PastSpan(queue, root, queued_at, attempt.dispatched_at, {"attempt": attempt.number, "pool": run.pool})
    facts: dict[str, Value | None] = {
        "attempt": attempt.number,
        "batch_id": attempt.batch_id,
        "pool": run.pool,
        "worker": attempt.worker,
        "outcome": attempt.outcome,
        "samples_done": attempt.samples_done,
        "samples_total": attempt.samples_total,
    }
    error = attempt.outcome if attempt.outcome not in BLAMELESS else None
    yield PastSpan(place, root, attempt.dispatched_at, attempt.ended_at, facts, error=error)
    wait = Place(run.reproduction_id, "wait", attempt.number)
    yield PastSpan(wait, place, attempt.dispatched_at, attempt.started_at or attempt.ended_at)
