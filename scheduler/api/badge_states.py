"""What a badge may honestly say of a model on a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from scheduler.api import queue
from scheduler.database.tables import Badge, Claim, Reproduction, VerdictRow
from scheduler.machine import ClaimState, ReproductionState
from specs.judging.verdict import Outcome

LOOKED_AT = 50
"""Living claims of one model on one task; more than a handful is somebody's joke."""

GREEN, RED, BLUE, YELLOW, GREY = "#2ea44f", "#d1242f", "#0969da", "#bf8700", "#6e7781"


@dataclass(frozen=True)
class Said:
    """What a badge says."""

    state: str
    """A word for programs."""

    message: str
    colour: str
    claim_id: str | None
    """The claim that it speaks of; None where there is none."""


NOT_SUBMITTED = Said("not_submitted", "not submitted", GREY, None)

WORDS = {
    Outcome.INCONCLUSIVE: ("inconclusive", YELLOW),
    Outcome.UNSUPPORTED: ("cannot be run here", GREY),
    Outcome.FAILED: ("could not be run", YELLOW),
}

IN_ORDER = (
    "mismatch",
    "verified",
    "stale",
    "revoked",
    "inconclusive",
    "running",
    "waiting",
    "blocked",
    "failed",
    "unsupported",
)
"""Where several claims count, the first of these that one of them is. A mismatch is not hidden behind another claim."""

ON_ITS_WAY = ("running", "waiting", "blocked")


def said_of(session: Session, model_id: str, dataset_id: str, task_id: str | None) -> Said:
    """What a badge says of a model on a task: by its author's claims, else by those that others proposed."""
    rows = session.execute(
        select(Claim, Reproduction, VerdictRow, Badge)
        .outerjoin(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
        .where(
            Claim.model_id == model_id,
            Claim.dataset_id == dataset_id,
            Claim.task_id.is_(None) if task_id is None else Claim.task_id == task_id,
            Claim.live,
        )
        .order_by(Claim.created_at.desc(), Claim.claim_id.desc())
        .limit(LOOKED_AT)
        .options(*queue.WITHOUT_BULK, defer(Claim.linked_log, raiseload=True))
    ).all()
    authors = [row for row in rows if row[0].pull_request is None]
    found = [_said(*row) for row in authors or rows]
    if found and _first(found).state in ON_ITS_WAY:
        found += [_again(said) for said in _before(session, authors or rows)]
    return _first(found)


def _first(found: Sequence[Said]) -> Said:
    return min(found, key=lambda said: IN_ORDER.index(said.state), default=NOT_SUBMITTED)


def _before(session: Session, rows: Sequence[Any]) -> list[Said]:
    """What was said of entries that are being verified again: that holds until there is something newer."""
    supersedes = [row[0].supersedes for row in rows if row[0].supersedes is not None]
    earlier = session.execute(
        select(Claim, Reproduction, VerdictRow, Badge)
        .join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .join(Badge, Badge.claim_id == Claim.claim_id)
        .outerjoin(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .where(Claim.claim_id.in_(supersedes))
        .options(*queue.WITHOUT_BULK, defer(Claim.linked_log, raiseload=True))
    ).all()
    return [_said(*row) for row in earlier]


def _again(said: Said) -> Said:
    return replace(said, message=f"{said.message}, checking again")


def _said(claim: Claim, run: Reproduction | None, verdict: VerdictRow | None, badge: Badge | None) -> Said:
    if verdict is None:
        return _on_its_way(claim, run)
    outcome = Outcome(verdict.outcome)
    compared: dict[str, Any] = verdict.verdict.get("comparison") or {}
    if outcome in WORDS:
        message, colour = WORDS[outcome]
        return Said(outcome.value, message, colour, claim.claim_id)
    figures = f"{_percent(compared.get('reproduced'))} on {compared.get('samples_used')}/{compared.get('population')}"
    if outcome is Outcome.MISMATCH:
        return Said("mismatch", f"mismatch: {figures}", RED, claim.claim_id)
    if badge is not None and badge.revoked_at is not None:
        return Said("revoked", "revoked", RED, claim.claim_id)
    date = f"{verdict.decided_at:%Y-%m-%d}"
    if run is None or claim.stale_reason is not None:
        return Said("stale", f"stale: verified {date}", YELLOW, claim.claim_id)
    return Said("verified", f"verified {date}: {figures}", GREEN, claim.claim_id)


def _on_its_way(claim: Claim, run: Reproduction | None) -> Said:
    if claim.state == ClaimState.BLOCKED:
        return Said("blocked", "waits for somebody", YELLOW, claim.claim_id)
    if run is not None and run.state == ReproductionState.RUNNING:
        return Said("running", "running", BLUE, claim.claim_id)
    return Said("waiting", "waiting", BLUE, claim.claim_id)


def _percent(score: float | None) -> str:
    return "?" if score is None else f"{score:.1%}"
