"""Claimed beside reproduced: of one benchmark for all models, and of one model on all benchmarks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from scheduler.api import pages
from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.routes import benchmarks
from scheduler.api.routes.benchmarks import show_benchmark
from scheduler.api.routes.claims import WantedClaims, list_claims
from scheduler.api.routes.models import show_model
from scheduler.api.routes.noise import list_noise
from scheduler.dashboard.pages import PageRoute, render
from specs.api_v1.scores import ScorePoint, TaskScores

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
    request: Request, source: TheSource, session: Reading, namespace: RepoName, name: RepoName
) -> Response:
    """One benchmark, and how claims on it came out."""
    found = show_benchmark(source, session, namespace, name)
    noise = list_noise(session, dataset=found.id).items
    return render(
        request,
        "benchmark.html",
        benchmark=found,
        points=_points(found.tasks),
        noise=noise,
        hub=source.settings.hub_endpoint.rstrip("/"),
    )


@router.get("/models/{namespace}/{name}")
def model_page(request: Request, source: TheSource, session: Reading, namespace: RepoName, name: RepoName) -> Response:
    """One model, and how its claims came out."""
    found = show_model(source, session, namespace, name)
    return render(
        request,
        "model.html",
        model=found,
        points=_points(found.tasks),
        claims=list_claims(source, session, WantedClaims(model=found.id, limit=SHOWN_CLAIMS)).items,
        hub=source.settings.hub_endpoint.rstrip("/"),
    )


def _points(tasks: tuple[TaskScores, ...]) -> list[ScorePoint]:
    """Those of all tasks that were measured, newest first."""
    found = [point for task in tasks for point in task.points if point.reproduced is not None]
    return sorted(found, key=lambda point: point.decided_at, reverse=True)
