"""One model, one benchmark, and the points of their pictures."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.api import pages, scores
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.problems import NotFound
from scheduler.database.tables import BEING_LOOKED_AT, Benchmark, Claim, Model, SpecFile
from scheduler.state_machine import ClaimState
from specs.api_v1.scores import BenchmarkDetail, ModelDetail, ScorePoint, SpecView
from specs.api_v1.views import Page

router = APIRouter(prefix="/v1", tags=["scores"])


@router.get("/points")
def list_points(
    session: Reading,
    model: pages.Filter = None,
    dataset: pages.Filter = None,
    task: pages.Filter = None,
    cursor: pages.PageCursor = None,
    limit: pages.Limit = 50,
) -> Page[ScorePoint]:
    """Claimed scores beside reproduced ones, of measured claims that were not withdrawn, those submitted last first."""
    about = pages.fitting((Claim.model_id, model), (Claim.dataset_id, dataset), (Claim.task_id, task))
    return scores.points(session, about, cursor, limit)


@router.get("/models/{namespace}/{name}")
def show_model(source: TheSource, session: Reading, namespace: pages.NamePart, name: pages.NamePart) -> ModelDetail:
    """One model: its weights, and how its claims came out."""
    return _model(source, session, f"{namespace}/{name}")


@router.get("/models/{name}")
def show_model_without_namespace(source: TheSource, session: Reading, name: pages.NamePart) -> ModelDetail:
    """One model whose id has no namespace."""
    return _model(source, session, name)


@router.get("/benchmarks/{namespace}/{name}")
def show_benchmark(
    source: TheSource, session: Reading, namespace: pages.NamePart, name: pages.NamePart
) -> BenchmarkDetail:
    """One benchmark: its spec, and how the claims on it came out."""
    return _benchmark(source, session, f"{namespace}/{name}")


@router.get("/benchmarks/{name}")
def show_benchmark_without_namespace(source: TheSource, session: Reading, name: pages.NamePart) -> BenchmarkDetail:
    """One benchmark whose id has no namespace."""
    return _benchmark(source, session, name)


def _model(source: Source, session: Session, model_id: str) -> ModelDetail:
    row = session.get(Model, model_id)
    if row is None:
        raise NotFound(f"no model {model_id} was seen on the Hub")
    condition = Claim.model_id == model_id

    def count() -> tuple[scores.TaskCounts, dict[str, int]]:
        by_state = session.execute(select(Claim.state, func.count()).where(condition).group_by(Claim.state))
        return scores.count_by_task(session, condition), {row[0]: row[1] for row in by_state}

    counted = source.count(session, ("model", model_id), count)
    counts, by_state = counted.value
    shown = scores.points(session, [condition], None, scores.POINTS_SHOWN)
    return ModelDetail(
        id=row.model_id,
        revision=row.revision,
        gated=row.gated,
        weights_sha256=row.weights_sha256,
        weights_bytes=row.weights_bytes,
        looked_at=row.looked_at if row.looked_at != BEING_LOOKED_AT else None,
        claims={state.value: by_state.get(state, 0) for state in ClaimState},
        verdicts=counts.in_all,
        match_rate=scores.match_rate(counts.in_all),
        tasks=scores.tasks(counts, shown.items),
        points_next=shown.next,
        counted_at=None if counted.current else counted.at,
    )


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
