"""Reproductions: what runs, what ran, and what waits to run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, select

from scheduler.api import pages, queue
from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.api.views import attempt_view, how_to_repeat, measurement_view, run_facts, run_summary
from scheduler.database.tables import Attempt, Claim, Reproduction
from specs.api_v1.reproductions import ReproductionStateName, ReproductionSummary, ReproductionView
from specs.api_v1.views import Page

router = APIRouter(prefix="/v1/reproductions", tags=["reproductions"])

NEWEST_FIRST = (Reproduction.created_at.desc(), Reproduction.reproduction_id.desc())


class WantedReproductions(BaseModel):
    """Which reproductions; what is not given is any."""

    model: pages.Filter = None
    dataset: pages.Filter = None
    task: pages.Filter = None
    state: ReproductionStateName | None = None
    pool: pages.Filter = None
    cursor: pages.PageCursor = None
    limit: pages.Limit = 50

    def conditions(self) -> list[ColumnElement[bool]]:
        """What holds for their rows."""
        found = pages.fitting(
            (Reproduction.model_id, self.model),
            (Reproduction.dataset_id, self.dataset),
            (Reproduction.task_id, self.task),
            (Reproduction.state, self.state),
            (Reproduction.pool, self.pool),
        )
        if self.cursor is not None:
            found.append(pages.after(self.cursor, Reproduction.created_at, Reproduction.reproduction_id))
        return found


@router.get("")
def list_reproductions(
    source: TheSource, session: Reading, wanted: Annotated[WantedReproductions, Query()]
) -> Page[ReproductionSummary]:
    """Reproductions, newest first."""
    # The page first, then what hangs on it: sorting whole rows of a large table is slow.
    found = select(Reproduction.reproduction_id).where(*wanted.conditions())
    page = session.scalars(found.order_by(*NEWEST_FIRST).limit(wanted.limit + 1)).all()
    rows = session.execute(
        select(Reproduction, Attempt)
        .outerjoin(
            Attempt,
            (Attempt.reproduction_id == Reproduction.reproduction_id) & (Attempt.number == Reproduction.attempt),
        )
        .where(Reproduction.reproduction_id.in_(page))
        .order_by(*NEWEST_FIRST)
        .options(*queue.WITHOUT_BULK)
    ).all()
    lines = queue.lines(source, session, [row for row, _ in rows])
    return pages.page(
        Page[ReproductionSummary],
        [queue.run_in(lines, row, attempt) for row, attempt in rows],
        wanted.limit,
        lambda run: run_summary(source, run),
        lambda run: pages.encode(run.reproduction.created_at, run.reproduction.reproduction_id),
    )


@router.get("/{reproduction_id}")
def show_reproduction(source: TheSource, session: Reading, reproduction_id: IdOrStart) -> ReproductionView:
    """One reproduction with its attempts and what it measured, by its id or the start of it."""
    found = whole_id(session, Reproduction.reproduction_id, reproduction_id, "reproduction")
    row = session.get_one(Reproduction, found)
    current = next((attempt for attempt in row.attempts if attempt.number == row.attempt), None)
    run = queue.run_in(queue.lines(source, session, [row]), row, current)
    measured = measurement_view(row.measurement) if row.measurement else None
    claims = select(Claim.claim_id).where(Claim.reproduction_id == found).order_by(Claim.created_at, Claim.claim_id)
    return ReproductionView.model_validate(
        {
            **run_facts(source, run),
            "attempts": [attempt_view(attempt) for attempt in row.attempts],
            "measurement": measured,
            **(how_to_repeat(row, measured.circumstances) if measured else {}),
            "claims": session.scalars(claims).all(),
        }
    )
