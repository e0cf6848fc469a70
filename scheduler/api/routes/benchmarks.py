"""Benchmarks that are watched, and how claims on them came out."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.api import pages, scores
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.problems import NotFound
from scheduler.database.tables import Benchmark, Claim, SpecFile, VerdictRow
from specs.api_v1.scores import BenchmarkDetail, BenchmarkView, SpecView
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
    query = select(Benchmark).where(Benchmark.unlisted_at.is_(None)).order_by(Benchmark.dataset_id).limit(limit + 1)
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


@router.get("/{namespace}/{name}")
def show_benchmark(
    source: TheSource, session: Reading, namespace: pages.NamePart, name: pages.NamePart
) -> BenchmarkDetail:
    """One benchmark: its spec, and how the claims on it came out."""
    return _benchmark(source, session, f"{namespace}/{name}")


@router.get("/{name}")
def show_benchmark_without_namespace(source: TheSource, session: Reading, name: pages.NamePart) -> BenchmarkDetail:
    """One benchmark whose id has no namespace."""
    return _benchmark(source, session, name)


def _benchmark(source: Source, session: Session, dataset_id: str) -> BenchmarkDetail:
    row = session.get(Benchmark, dataset_id)
    if row is None:
        raise NotFound(f"{dataset_id} is no benchmark that is watched")
    condition = Claim.dataset_id == dataset_id
    counted = source.count(session, ("benchmark", dataset_id), lambda: scores.count_by_task(session, condition))
    counts = counted.value
    shown = scores.points(session, [condition], None, scores.POINTS_SHOWN)
    return BenchmarkDetail(
        id=row.dataset_id,
        revision=row.revision,
        gated=row.gated,
        seen_at=row.seen_at,
        spec=_spec(session, row),
        samples=row.sizes,
        claims=counts.claims.total(),
        verdicts=counts.in_all,
        match_rate=scores.match_rate(counts.in_all),
        tasks=scores.tasks(counts, shown.items),
        points_next=shown.next,
        counted_at=None if counted.current else counted.at,
    )


def _spec(session: Session, row: Benchmark) -> SpecView | None:
    stored = session.get(SpecFile, (row.dataset_id, row.revision)) if row.revision is not None else None
    if stored is None or stored.text is None:
        return None
    return SpecView(
        revision=stored.revision,
        sha256=hashlib.sha256(stored.text).hexdigest(),
        text=stored.text.decode("utf-8", "replace"),
    )
