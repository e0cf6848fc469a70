"""The app: routes by resource, errors as problems, one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import BaseRoute

from scheduler.access.openid import Provider
from scheduler.api import problems
from scheduler.api.callers.browsers import SafeHeaders, let_pages_read
from scheduler.api.callers.gate import Gate
from scheduler.api.dependencies import Source
from scheduler.api.head_requests import AnswersHead
from scheduler.api.live.response_cache import ResponseCache
from scheduler.api.routes import (
    access,
    actions,
    badge_images,
    badges,
    benchmarks,
    claims,
    events,
    evidence,
    feeds,
    health,
    hub_webhook,
    keys,
    models,
    noise,
    overview,
    policy,
    reproductions,
    scores,
    trace,
    verdicts,
    webhooks,
    workers,
)
from scheduler.dashboard import router as dashboard
from scheduler.metrics import collector
from scheduler.settings import Settings, read_settings
from specs.processes.secrets import mask_logs

PARTS = (
    overview,
    claims,
    reproductions,
    trace,
    verdicts,
    badges,
    badge_images,
    feeds,
    events,
    benchmarks,
    models,
    scores,
    noise,
    policy,
    workers,
    evidence,
    keys,
    webhooks,
    hub_webhook,
    access,
    actions,
    health,
)
"""Modules with a `router`."""


def create_app(settings: Settings) -> FastAPI:
    """The API of the farm that `settings` describe."""
    source = Source.of(settings)
    app = FastAPI(
        title="reprofarm",
        version=version("reprofarm"),
        description="Claims, their reproductions, verdicts and badges. Version 1: fields are added, never changed.",
        # Their pages load scripts from a foreign host.
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.source = source
    app.state.metrics = collector.registry(source.database, source.policy)
    problems.install(app)
    # Asked in the reverse order of this: the last one first, and `problems` after all of them.
    app.add_middleware(ResponseCache, follower=source.follower, memory_bytes=settings.api_memory_mib * 2**20)
    app.add_middleware(SafeHeaders)
    app.routes.extend(_routes())
    dashboard.install(app)
    app.state.provider = Provider(settings) if settings.hub_oauth_client_id is not None else None
    app.add_middleware(AnswersHead)
    # Before all that answers: what answers early must not answer who may not read.
    app.add_middleware(Gate, source=source, refusal_page=dashboard.refusal_page)
    # Before the gate, whose refusals a page has to read too: else it sees a network error, and never when to come back.
    let_pages_read(app, settings.api_origins)
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Of all parts and pages. They know of no farm, and to make them takes longer than all else of an app."""
    found = APIRouter(
        responses=problems.DESCRIBED,
        dependencies=[Depends(problems.refuse_null_character)],
        generate_unique_id_function=lambda route: route.name,
    )
    for part in (*PARTS, *dashboard.PARTS):
        found.include_router(part.router)
    return tuple(found.routes)


def create_app_from_environment() -> FastAPI:
    """For `uvicorn --factory`."""
    settings = read_settings()
    mask_logs(settings.secrets)
    return create_app(settings)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    source: Source = app.state.source
    source.follower.start(asyncio.get_running_loop())
    yield
    await asyncio.to_thread(source.follower.stop)
    source.database.engine.dispose()
