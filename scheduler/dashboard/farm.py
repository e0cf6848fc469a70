"""The farm as a whole: what runs and what needs a person, its workers, and the record of all that happened."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from scheduler.api import pages
from scheduler.api.dependencies import Reading, TheSource
from scheduler.api.routes import events
from scheduler.api.routes.overview import show_overview
from scheduler.api.routes.reproductions import WantedReproductions, list_reproductions
from scheduler.api.routes.verdicts import WantedVerdicts, list_verdicts
from scheduler.api.routes.workers import list_in_need_first, list_pools
from scheduler.dashboard import reading
from scheduler.dashboard.pages import PageRoute, render

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN_RUNS = 12
SHOWN_VERDICTS = 8
SHOWN_WORKERS = 200
SHOWN_EVENTS = 50
DAYS = 14


@router.get("/")
def overview_page(request: Request, source: TheSource, session: Reading) -> Response:
    """The farm at a glance."""
    found = show_overview(source, session)
    runs = list_reproductions(source, session, WantedReproductions(state="running", limit=SHOWN_RUNS)).items
    return render(
        request,
        "overview.html",
        overview=found,
        blocked={each.claim_id: each for each in found.needs_a_person.blocked},
        days=found.days[-DAYS:],
        runs=runs,
        verdicts=list_verdicts(session, WantedVerdicts(limit=SHOWN_VERDICTS)).items,
        judged=reading.claims_of_runs(session, [run.id for run in runs]),
    )


@router.get("/workers")
def workers_page(request: Request, source: TheSource, session: Reading, cursor: pages.PageCursor = None) -> Response:
    """Who runs what, with which engine, and what waits in their pools."""
    found = list_in_need_first(session, cursor, SHOWN_WORKERS)
    return render(
        request,
        "workers.html",
        workers=found.items,
        in_all=reading.count_workers(session),
        next=found.next,
        cursor=cursor,
        pools=list_pools(source, session).items,
    )


@router.get("/audit")
async def audit_page(
    request: Request,
    source: TheSource,
    subject: Annotated[events.Subject | None, pages.EmptyIsAny, Query()] = None,
    subject_id: Annotated[str, Query(max_length=200)] = "",
    before: events.EventId = None,
) -> Response:
    """All that happened, newest first."""
    part = events.Part(
        before=before,
        order="newest",
        subject=subject,
        subject_id=subject_id.strip() or None,
        limit=SHOWN_EVENTS,
    )
    found = await events.list_events(request, source, part)
    if isinstance(found, Response):
        # Somebody asked for a stream of this page.
        return found
    return render(
        request,
        "audit.html",
        events=found.items,
        next=found.next,
        subject=subject,
        subject_id=subject_id,
        before=before,
    )
