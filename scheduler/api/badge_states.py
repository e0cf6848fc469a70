"""What a badge may honestly say of a model on a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select
from sqlalchemy.orm import Session, defer

from scheduler.api import queue
from scheduler.badges.revoking import pins_nothing
from scheduler.database.tables import Badge, Claim, Model, Reproduction, VerdictRow
from scheduler.state_machine import ClaimState, ReproductionState
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

_Row: TypeAlias = Row[Claim, Reproduction, VerdictRow, Badge]
"""Any but the claim may be None."""

ANSWERS = (Outcome.VERIFIED, Outcome.MISMATCH)

WITHOUT_BULK = (*queue.WITHOUT_BULK, defer(Claim.linked_log, raiseload=True))


MOST_FIRST = case((VerdictRow.outcome == Outcome.MISMATCH, 0), (VerdictRow.outcome == Outcome.VERIFIED, 1), else_=2)
"""However many claims there are, those that say most are looked at."""


def said_of(session: Session, model_id: str, dataset_id: str, task_id: str | None) -> Said:
    """What a badge says of a model on a task: by its author's claims, else by those that others proposed."""
    of_task: tuple[ColumnElement[bool], ...] = (
        Claim.model_id == model_id,
        Claim.dataset_id == dataset_id,
        _names_one_of(_names(session, model_id, dataset_id, task_id)),
    )
    living = (*of_task, Claim.live.is_(True))
    # Each by itself: however many others propose, they do not push the author's own claims aside.
    authors = _found(session, *living, Claim.pull_request.is_(None))
    rows = authors or _found(session, *living)
    said = [_said(*row) for row in rows]
    if len(rows) == LOOKED_AT or any(verdict is None or verdict.outcome not in ANSWERS for _, _, verdict, _ in rows):
        said.extend(_before(session, *of_task, by_author=bool(authors)))
    return _first(said)


def _names(session: Session, model_id: str, dataset_id: str, task_id: str | None) -> set[str | None]:
    """What entries call a task: those on a benchmark's only one may name it or not, and say the same."""
    # Asked by itself: as part of the queries it would be asked once more for each of them, or for each claim.
    run_for_no_name = session.scalars(
        select(Reproduction.task_id)
        .join(Claim, Claim.reproduction_id == Reproduction.reproduction_id)
        .where(Claim.model_id == model_id, Claim.dataset_id == dataset_id, Claim.task_id.is_(None))
        .distinct()
    ).all()
    if task_id is None:
        return {None, *run_for_no_name}
    return {task_id, None} if task_id in run_for_no_name else {task_id}


def _names_one_of(names: set[str | None]) -> ColumnElement[bool]:
    named = Claim.task_id.in_(sorted(name for name in names if name is not None))
    return or_(named, Claim.task_id.is_(None)) if None in names else named


def _found(session: Session, *conditions: ColumnElement[bool]) -> Sequence[_Row]:
    """Claims with what became of them."""
    return session.execute(
        select(Claim, Reproduction, VerdictRow, Badge)
        .outerjoin(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
        .where(*conditions)
        .order_by(MOST_FIRST, Claim.created_at.desc(), Claim.claim_id.desc())
        .limit(LOOKED_AT)
        .options(*WITHOUT_BULK)
    ).all()


def _first(found: Sequence[Said]) -> Said:
    return min(found, key=lambda said: IN_ORDER.index(said.state), default=NOT_SUBMITTED)


def _before(session: Session, *of_task: ColumnElement[bool], by_author: bool) -> Iterator[Said]:
    """What was said of scores that have no answer of their own yet: that holds until there is something newer.

    Else a mismatch could be hidden by asking for another run, or by taking the entry away and putting it back, with
    other notes or in another file, and then cancelling that run. On main counts what stood there, and on a pull request
    what stood on that one: nobody else's claims speak for a score.
    """
    # By all claims of the task, each looked at once: of entries without an answer there may be ever more.
    score, answers = (Claim.ref, Claim.value), VerdictRow.outcome.in_(ANSWERS)
    latest = (case((answers, 0), else_=1), VerdictRow.decided_at.desc())
    counts = and_(Claim.live.is_(True), Claim.pull_request.is_(None)) if by_author else Claim.live.is_(True)
    unanswered = and_(counts, or_(VerdictRow.outcome.is_(None), VerdictRow.outcome.not_in(ANSWERS)))

    def some(*conditions: ColumnElement[bool], of: Sequence[Any] = score) -> ColumnElement[int]:
        return func.max(case((and_(unanswered, *conditions), 1), else_=0)).over(partition_by=of)

    pinned = case((pins_nothing(Claim), None), else_=Claim.dataset_revision)

    seen = (
        select(
            Claim.claim_id,
            func.row_number().over(partition_by=score, order_by=latest).label("of_score"),
            func.row_number()
            .over(partition_by=(*score, Reproduction.weights_sha256), order_by=latest)
            .label("of_weights"),
            some().label("asked"),
            some(Claim.supersedes.is_not(None)).label("asked_again"),
            some(Claim.state != ClaimState.DECIDED).label("under_way"),
            some(of=(*score, pinned)).label("asked_of_this"),
        )
        .outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .outerjoin(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .where(*of_task)
        .subquery()
    )
    found = session.execute(
        select(Claim, Reproduction, VerdictRow, Badge, seen.c.under_way, seen.c.asked_of_this)
        .join(seen, seen.c.claim_id == Claim.claim_id)
        .join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .join(Reproduction, Reproduction.reproduction_id == Claim.reproduction_id)
        .join(Model, Model.model_id == Claim.model_id)
        .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
        .where(
            answers,
            # Where another entry has the newest answer, it says that itself.
            Claim.live.is_(False),
            or_(
                and_(seen.c.of_weights == 1, seen.c.asked == 1, Reproduction.weights_sha256 == Model.weights_sha256),
                # Of other weights no more is said than that they had a badge, and that says itself if it is stale.
                and_(seen.c.of_score == 1, seen.c.asked_again == 1, Badge.claim_id.is_not(None)),
            ),
        )
        .order_by(MOST_FIRST, VerdictRow.decided_at.desc())
        .limit(LOOKED_AT)
        .options(*WITHOUT_BULK)
    ).all()
    for claim, run, verdict, badge, under_way, asked_of_this in found:
        since = "checking again" if under_way else "checked again without an answer"
        # What was verified was so at the commit that the entry named then, and not at the one that it names now.
        said = _said(claim, run, verdict, badge, is_stale=not asked_of_this)
        yield replace(said, message=f"{said.message}, {since}")


def _said(
    claim: Claim,
    run: Reproduction | None,
    verdict: VerdictRow | None,
    badge: Badge | None,
    *,
    is_stale: bool = False,
) -> Said:
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
    if run is None or is_stale or claim.stale_reason is not None:
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
