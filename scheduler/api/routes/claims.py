"""Claims: what was submitted, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, BeforeValidator, model_validator
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from scheduler.api import pages
from scheduler.api.callers.callers import counted_as
from scheduler.api.claim_rows import claim_row, claim_rows
from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.api.views import claim_view
from scheduler.database.tables import Benchmark, Claim, Model, VerdictRow
from scheduler.requests.revisions import at_revision
from specs.api_v1.actions import Revision
from specs.api_v1.claims import ClaimStateName, ClaimView
from specs.api_v1.plan import ClaimPlan
from specs.api_v1.views import Page
from specs.hub.dataset_card import MAX_SAMPLES
from specs.judging.verdict import Outcome

router = APIRouter(prefix="/v1/claims", tags=["claims"])

NEWEST_FIRST = (Claim.created_at.desc(), Claim.claim_id.desc())


MAX_PART_CHARS = 100
"""Of an id, that is searched for."""

FOUND_AT_MOST = 200
"""Models, and benchmarks, whose claims a search shows."""


def _written_out(value: object) -> object:
    # Pydantic also takes seconds since 1970, which the document does not say.
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("not a date and time, 2026-03-01T12:00:00Z say")
    return value


class WantedClaims(BaseModel):
    """Which claims; what is not given is any."""

    model: pages.Filter = None
    dataset: pages.Filter = None
    task: pages.Filter = None
    revision: Annotated[
        Revision | None,
        Query(description="Of the model's repo: `main`, `refs/pr/3`, a commit or its start; with `model`."),
    ] = None
    state: ClaimStateName | None = None
    outcome: Outcome | None = None
    submitter: pages.Filter = None
    since: Annotated[
        datetime | None,
        BeforeValidator(_written_out),
        Query(description="Only claims that came into their state then or later; UTC if no zone."),
    ] = None
    q: Annotated[
        str | None,
        Query(min_length=2, max_length=MAX_PART_CHARS, description="A part of the id of the model or benchmark."),
    ] = None
    cursor: pages.PageCursor = None
    limit: pages.Limit = 50

    @model_validator(mode="after")
    def _revision_of_a_model(self) -> Self:
        if self.revision is not None and self.model is None:
            raise ValueError("a revision is one of a model's repo: name the model too")
        return self

    def conditions(self, session: Session) -> list[ColumnElement[bool]]:
        """What holds for their rows, with the verdict's."""
        found = pages.fitting(
            (Claim.model_id, self.model),
            (Claim.dataset_id, self.dataset),
            (Claim.task_id, self.task),
            (Claim.state, self.state),
            (VerdictRow.outcome, self.outcome),
            (Claim.submitter, self.submitter),
        )
        if self.model is not None and self.revision is not None:
            found.append(at_revision(self.model, self.revision))
        if self.since is not None:
            found.append(Claim.since >= _in_utc(self.since))
        if self.q is not None:
            found.append(_about(session, self.q))
        if self.cursor is not None:
            found.append(pages.after(self.cursor, Claim.created_at, Claim.claim_id))
        return found


@router.get("")
def list_claims(source: TheSource, session: Reading, wanted: Annotated[WantedClaims, Query()]) -> Page[ClaimView]:
    """Claims, newest first."""
    # The page first, then what hangs on it: sorting whole rows of a large table is slow.
    found = select(Claim.claim_id).where(*wanted.conditions(session))
    if wanted.outcome is not None:
        found = found.join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
    page = session.scalars(found.order_by(*NEWEST_FIRST).limit(wanted.limit + 1)).all()
    return pages.page(
        Page[ClaimView],
        claim_rows(source, session, page),
        wanted.limit,
        lambda row: claim_view(source, row),
        lambda row: pages.encode(row.claim.created_at, row.claim.claim_id),
    )


@router.get("/{claim_id}")
def show_claim(source: TheSource, session: Reading, claim_id: IdOrStart) -> ClaimView:
    """One claim, by its id or the start of it."""
    return claim_view(source, claim_row(source, session, claim_id))


@router.get("/{claim_id}/plan")
def plan_of_claim(
    request: Request,
    session: Reading,
    claim_id: IdOrStart,
    samples: Annotated[
        int | None, Query(ge=1, le=MAX_SAMPLES, description="How many the task has, where you know better.")
    ] = None,
) -> ClaimPlan:
    """What judging a claim will cost and come to; 409 where nothing can be said of it, 503 while too many ask."""
    # Imports NumPy and the statistics, which no other answer needs.
    from scheduler.api.plan import plan_view  # noqa: PLC0415

    found = whole_id(session, Claim.claim_id, claim_id, "claim")
    return plan_view(session, session.get_one(Claim, found), samples, who=counted_as(request))


def _in_utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        # The first and last hours of the calendar.
        return time.replace(tzinfo=UTC)


def _about(session: Session, part: str) -> ColumnElement[bool]:
    """Claims on the first models and benchmarks with `part` in their id: looked for there, and not in all claims."""

    def ids(column: InstrumentedAttribute[str]) -> Sequence[str]:
        fits = func.lower(column).contains(part.lower(), autoescape=True)
        return session.scalars(select(column).where(fits).order_by(column).limit(FOUND_AT_MOST)).all()

    return or_(Claim.model_id.in_(ids(Model.model_id)), Claim.dataset_id.in_(ids(Benchmark.dataset_id)))
