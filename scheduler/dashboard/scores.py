"""Claimed beside reproduced: of one benchmark for all models, and of one model on all benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from scheduler.api import pages, scores
from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.routes import benchmarks
from scheduler.api.routes.benchmarks import show_benchmark
from scheduler.api.routes.claims import WantedClaims, list_claims
from scheduler.api.routes.models import show_model
from scheduler.api.routes.noise import list_noise
from scheduler.dashboard.pages import PageRoute, render
from scheduler.database.tables import Claim
from specs.api_v1.scores import BenchmarkDetail, ModelDetail, ScorePoint

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN_CLAIMS = 100

RepoName = Annotated[str, Path(max_length=100)]


@router.get("/benchmarks")
def benchmarks_page(request: Request, session: Reading, cursor: pages.PageCursor = None) -> Response:
    """Benchmarks that are watched."""
    found = benchmarks.list_benchmarks(session, cursor=cursor)
    return render(request, "benchmarks.html", benchmarks=found.items, next=found.next)


@router.get("/benchmarks/{namespace}/{name}")
def benchmark_page(
    request: Request,
    source: TheSource,
    session: Reading,
    namespace: RepoName,
    name: RepoName,
    points: pages.PageCursor = None,
) -> Response:
    """One benchmark, and how claims on it came out; `points` is where a part of the measured ones begins."""
    found = show_benchmark(source, session, namespace, name)
    noise = list_noise(session, dataset=found.id).items
    return render(
        request,
        "benchmark.html",
        benchmark=found,
        measured=_measured(session, found, Claim.dataset_id == found.id, points),
        noise=noise,
        hub=source.settings.hub_endpoint,
    )


class Parts(BaseModel):
    """Where the parts of a model's lists begin."""

    points: pages.PageCursor = None
    claims: pages.PageCursor = None


@router.get("/models/{namespace}/{name}")
def model_page(
    request: Request,
    source: TheSource,
    session: Reading,
    namespace: RepoName,
    name: RepoName,
    parts: Annotated[Parts, Query()],
) -> Response:
    """One model, and how its claims came out."""
    found = show_model(source, session, namespace, name)
    listed = list_claims(source, session, WantedClaims(model=found.id, cursor=parts.claims, limit=SHOWN_CLAIMS))
    return render(
        request,
        "model.html",
        model=found,
        measured=_measured(session, found, Claim.model_id == found.id, parts.points),
        claims=listed.items,
        claims_next=listed.next,
        claims_cursor=parts.claims,
        hub=source.settings.hub_endpoint,
    )


@dataclass(frozen=True)
class Measured:
    """A part of the claims that were measured, newest first."""

    points: list[ScorePoint]
    in_all: int
    cursor: str | None
    next: str | None


def _measured(
    session: Session, found: BenchmarkDetail | ModelDetail, condition: ColumnElement[bool], cursor: str | None
) -> Measured:
    if cursor is None:
        shown, following = [point for task in found.tasks for point in task.points], found.points_next
    else:
        part = scores.points(session, [condition], cursor, scores.POINTS_SHOWN)
        shown, following = list(part.items), part.next
    shown = [point for point in shown if point.reproduced is not None]
    return Measured(
        points=sorted(shown, key=lambda point: point.decided_at, reverse=True),
        # Those of which no sample was scored are among them only where there are too many to look at each.
        in_all=sum(found.verdicts.get(each, 0) for each in scores.MEASURED) if cursor or following else len(shown),
        cursor=cursor,
        next=following,
    )
