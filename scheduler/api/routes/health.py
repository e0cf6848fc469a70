"""Whether the process lives, whether the farm can work, and its figures for Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from scheduler.api.dependencies import TheSource
from scheduler.database.readiness import trouble_with_database
from scheduler.messaging.broker_readiness import trouble_with_broker
from specs.api_v1.health import Health, Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    # On the loop: the threads may all wait for a slow database, for which a probe should end no process.
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Something is missing."}})
def readyz(source: TheSource, response: Response) -> Readiness:
    """Database and broker answer, and the database has the tables that this version needs, or a later one's."""
    found = {
        "database": trouble_with_database(source.database, newer_is_fine=True),
        "broker": trouble_with_broker(source.settings.broker_url.get_secret_value()),
    }
    ready = not any(found.values())
    if not ready:
        response.status_code = 503
    return Readiness(
        status="ready" if ready else "not_ready", checks={name: trouble or "ok" for name, trouble in found.items()}
    )


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Figures of the farm and of this process, as Prometheus reads them."""
    # In none of the threads that requests wait in for a database that is away: it is to be heard then.
    text = await asyncio.to_thread(generate_latest, request.app.state.metrics)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
