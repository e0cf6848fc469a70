"""Verdicts, by themselves: what a dashboard counts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, select

from scheduler.api import pages
from scheduler.api.dependencies import Reading
from scheduler.api.views import verdict_summary
from scheduler.database.tables import Claim, VerdictRow
from specs.api_v1.claims import VerdictView
from specs.api_v1.views import Page
from specs.judging.verdict import Outcome

router = APIRouter(prefix="/v1/verdicts", tags=["verdicts"])

NEWEST_FIRST = (VerdictRow.decided_at.desc(), VerdictRow.claim_id.desc())


class WantedVerdicts(BaseModel):
    """Which verdicts; what is not given is any."""

    model: pages.Filter = None
    dataset: pages.Filter = None
    task: pages.Filter = None
    outcome: Outcome | None = None
    cursor: pages.PageCursor = None
    limit: pages.Limit = 50

    def conditions(self) -> list[ColumnElement[bool]]:
        """What holds for their rows, with the claim's."""
        found = pages.fitting(
            (Claim.model_id, self.model),
            (Claim.dataset_id, self.dataset),
            (Claim.task_id, self.task),
            (VerdictRow.outcome, self.outcome),
        )
        if self.cursor is not None:
            found.append(pages.after(self.cursor, VerdictRow.decided_at, VerdictRow.claim_id))
        return found


@router.get("")
def list_verdicts(session: Reading, wanted: Annotated[WantedVerdicts, Query()]) -> Page[VerdictView]:
    """Verdicts, newest first."""
    both = Claim.claim_id == VerdictRow.claim_id
    # The page first, then the rows: sorting whole rows of a large table is slow.
    page = session.scalars(
        select(VerdictRow.claim_id)
        .join(Claim, both)
        .where(*wanted.conditions())
        .order_by(*NEWEST_FIRST)
        .limit(wanted.limit + 1)
    ).all()
    rows = session.execute(
        select(VerdictRow, Claim).join(Claim, both).where(VerdictRow.claim_id.in_(page)).order_by(*NEWEST_FIRST)
    ).all()
    return pages.page(
        Page[VerdictView],
        [(verdict, claim) for verdict, claim in rows],
        wanted.limit,
        lambda row: _view(*row),
        lambda row: pages.encode(row[0].decided_at, row[0].claim_id),
    )


def _view(row: VerdictRow, claim: Claim) -> VerdictView:
    summary = verdict_summary(row)
    return VerdictView(
        claim_id=claim.claim_id,
        model=claim.model_id,
        dataset=claim.dataset_id,
        task=claim.task_id,
        claimed=(claim.rules or {}).get("claimed"),
        reproduction_id=row.reproduction_id,
        outcome=summary.outcome,
        reason=summary.reason,
        comparison=summary.comparison,
        decided_at=summary.decided_at,
        likely_reasons=summary.likely_reasons,
    )
