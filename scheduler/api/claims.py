"""Claims: what was submitted, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Bundle, InstrumentedAttribute, Session

from scheduler.api import pages, queue
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.api.source import Reading, Source, TheSource
from scheduler.api.views import ClaimRow, claim_view
from scheduler.database.tables import (
    Attempt,
    Badge,
    Benchmark,
    Claim,
    Model,
    Publication,
    Reproduction,
    Table,
    VerdictRow,
)
from specs.api_v1 import ClaimStateName, ClaimView, Page
from specs.api_v1_plan import ClaimPlan
from specs.dataset_card import MAX_SAMPLES
from specs.verdict import Outcome

router = APIRouter(prefix="/v1/claims", tags=["claims"])

NEWEST_FIRST = (Claim.created_at.desc(), Claim.claim_id.desc())

Wanted = Annotated[str | None, Query(max_length=200)]

FOUND_AT_MOST = 200
"""Models, and benchmarks, whose claims a search shows."""


def _written_out(value: object) -> object:
    # Pydantic also takes seconds since 1970, which the document does not say.
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("not a date and time, 2026-03-01T12:00:00Z say")
    return value


@router.get("")
def list_claims(  # noqa: PLR0913, PLR0917 - the query's parameters
    source: TheSource,
    session: Reading,
    model: Wanted = None,
    dataset: Wanted = None,
    task: Wanted = None,
    state: ClaimStateName | None = None,
    outcome: Outcome | None = None,
    submitter: Wanted = None,
    since: Annotated[
        datetime | None,
        BeforeValidator(_written_out),
        Query(description="Only claims that came into their state then or later; UTC if no zone."),
    ] = None,
    q: Annotated[
        str | None, Query(min_length=2, max_length=100, description="A part of the id of the model or benchmark.")
    ] = None,
    cursor: pages.Cursor = None,
    limit: pages.Limit = 50,
) -> Page[ClaimView]:
    """Claims, newest first."""
    equal: list[tuple[Any, str | None]] = [
        (Claim.model_id, model),
        (Claim.dataset_id, dataset),
        (Claim.task_id, task),
        (Claim.state, state),
        (VerdictRow.outcome, outcome),
        (Claim.submitter, submitter),
    ]
    conditions: list[ColumnElement[bool]] = [column == wanted for column, wanted in equal if wanted is not None]
    if since is not None:
        conditions.append(Claim.since >= _in_utc(since))
    if q is not None:
        conditions.append(_about(session, q))
    if cursor is not None:
        conditions.append(pages.after(cursor, Claim.created_at, Claim.claim_id))
    # The page first, then what hangs on it: sorting whole rows of a large table is slow.
    found = select(Claim.claim_id).where(*conditions)
    if outcome is not None:
        found = found.join(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
    page = session.scalars(found.order_by(*NEWEST_FIRST).limit(limit + 1)).all()
    return pages.page(
        Page[ClaimView],
        _read(source, session, _WITH_PARTS.where(Claim.claim_id.in_(page)).order_by(*NEWEST_FIRST)) if page else [],
        limit,
        lambda row: claim_view(source, row),
        lambda row: pages.encode(row.claim.created_at, row.claim.claim_id),
    )


@router.get("/{claim_id}")
def show_claim(source: TheSource, session: Reading, claim_id: IdOrStart) -> ClaimView:
    """One claim, by its id or the start of it."""
    found = _read(source, session, _WITH_PARTS.where(Claim.claim_id == claim_id))
    if not found:
        # The start of an id, or none of ours.
        whole = whole_id(session, Claim.claim_id, claim_id, "claim")
        found = _read(source, session, _WITH_PARTS.where(Claim.claim_id == whole))
    return claim_view(source, found[0])


@router.get("/{claim_id}/plan")
def plan_of_claim(
    session: Reading,
    claim_id: IdOrStart,
    samples: Annotated[
        int | None, Query(ge=1, le=MAX_SAMPLES, description="How many the task has, where you know better.")
    ] = None,
) -> ClaimPlan:
    """What judging a claim will cost and come to; 409 where nothing can be said of it."""
    # Imports NumPy and the statistics, which no other answer needs.
    from scheduler.api.plan import plan_view  # noqa: PLC0415

    found = whole_id(session, Claim.claim_id, claim_id, "claim")
    return plan_view(session, session.get_one(Claim, found), samples)


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


def _part(table: type[Table], *not_shown: str) -> Bundle[Any]:
    """A table's columns, less those that no claim's view shows: they are long."""
    names = (column.name for column in table.__table__.columns)
    return Bundle(table.__tablename__, *(getattr(table, name) for name in names if name not in not_shown))


_WITH_PARTS: Select[Any, Any, Any, Any, Any, Any] = (
    select(
        _part(Claim, "linked_log", "foreseen"),
        _part(Reproduction, *queue.BULK),
        _part(Attempt, "detail"),
        _part(VerdictRow),
        _part(Badge, "token"),
        _part(Publication),
    )
    .select_from(Claim)
    .outerjoin(Reproduction, Claim.reproduction_id == Reproduction.reproduction_id)
    .outerjoin(
        Attempt,
        (Attempt.reproduction_id == Reproduction.reproduction_id) & (Attempt.number == Reproduction.attempt),
    )
    .outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
    .outerjoin(Badge, Badge.claim_id == Claim.claim_id)
    .outerjoin(Publication, Publication.claim_id == Claim.claim_id)
)
"""One query for all that a claim's view shows, so that a page takes as many queries as a claim.

Made once, and of plain rows: to keep track of objects that nobody changes takes as long as all the rest.
"""


def _read(source: Source, session: Session, query: Select[Any, Any, Any, Any, Any, Any]) -> list[ClaimRow]:
    found = [[_or_none(part) for part in row] for row in session.execute(query)]
    lines = queue.lines(source, session, [row[1] for row in found if row[1] is not None])
    return [
        ClaimRow(
            claim=claim,
            run=queue.run_in(lines, run, attempt) if run is not None else None,
            verdict=verdict,
            badge=badge,
            publication=publication,
        )
        for claim, run, attempt, verdict, badge, publication in found
    ]


def _or_none(part: Any) -> Any:  # the columns of some table
    """A part of a row, where there is one: each begins with its key, which is never null."""
    return part if part[0] is not None else None
