"""Benchmarks that are watched, and how claims on them came out."""

from __future__ import annotations

from collections import Counter, defaultdict

from fastapi import APIRouter
from sqlalchemy import func, select

from scheduler.api import pages
from scheduler.api.dependencies import Reading
from scheduler.database.tables import Benchmark, Claim, VerdictRow
from specs.api_v1.scores import BenchmarkView
from specs.api_v1.views import Page
from specs.judging.verdict import Outcome

router = APIRouter(prefix="/v1/benchmarks", tags=["benchmarks"])


@router.get("")
def list_benchmarks(
    session: Reading,
    cursor: pages.PageCursor = None,
    limit: pages.Limit = 50,
) -> Page[BenchmarkView]:
    """Benchmarks, by their id."""
    query = select(Benchmark).order_by(Benchmark.dataset_id).limit(limit + 1)
    rows = session.scalars(query.where(Benchmark.dataset_id > cursor) if cursor else query).all()
    counted = session.execute(
        select(Claim.dataset_id, VerdictRow.outcome, func.count())
        .outerjoin(VerdictRow, VerdictRow.claim_id == Claim.claim_id)
        .where(Claim.live, Claim.dataset_id.in_([row.dataset_id for row in rows]))
        .group_by(Claim.dataset_id, VerdictRow.outcome)
    )
    claims: Counter[str | None] = Counter()
    verdicts: dict[str | None, dict[Outcome, int]] = defaultdict(dict)
    for dataset_id, outcome, count in counted:
        claims[dataset_id] += count
        if outcome is not None:
            verdicts[dataset_id][Outcome(outcome)] = count
    return pages.page(
        Page[BenchmarkView],
        rows,
        limit,
        lambda row: BenchmarkView(
            id=row.dataset_id,
            revision=row.revision,
            gated=row.gated,
            seen_at=row.seen_at,
            claims=claims[row.dataset_id],
            verdicts=verdicts[row.dataset_id],
        ),
        lambda row: row.dataset_id,
    )
