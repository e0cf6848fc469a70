"""The app: routes by resource, errors as problems, one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI

from scheduler import metrics
from scheduler.access.openid import Provider
from scheduler.api import (
    access,
    actions,
    badges,
    benchmarks,
    claims,
    events,
    evidence,
    health,
    keys,
    noise,
    policy,
    problems,
    reproductions,
    signing_in,
    verdicts,
    workers,
)
from scheduler.api.gate import Gate
from scheduler.api.source import Source
from scheduler.database.session import Database
from scheduler.settings import Settings, read_settings
from specs.secrets import mask_logs


def create_app(settings: Settings) -> FastAPI:
    """The API of the farm that `settings` describe."""
    source = Source(settings, Database(settings.database_url))
    app = FastAPI(
        title="reprofarm",
        version=version("reprofarm"),
        description="Claims, their reproductions, verdicts and badges. Version 1: fields are added, never changed.",
        # Their pages load scripts from a foreign host.
        docs_url=None,
        redoc_url=None,
        responses=problems.DESCRIBED,
        dependencies=[Depends(problems.refuse_null_character)],
        generate_unique_id_function=lambda route: route.name,
        lifespan=_lifespan,
    )
    app.state.source = source
    app.state.metrics = metrics.registry(source.database)
    problems.install(app)
    for part in (
        claims,
        reproductions,
        verdicts,
        badges,
        events,
        benchmarks,
        noise,
        policy,
        evidence,
        keys,
        health,
        workers,
    ):
        app.include_router(part.router)
    app.state.provider = Provider(settings) if settings.hub_oauth_client_id is not None else None
    for part in (access, actions, signing_in):
        app.include_router(part.router)
    # Added last, so that it stands before all others: what answers early must not answer who may not read.
    app.add_middleware(Gate, source=source)
    return app


def create_app_from_environment() -> FastAPI:
    """For `uvicorn --factory`."""
    settings = read_settings()
    mask_logs(settings.secrets)
    return create_app(settings)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.source.database.engine.dispose()
