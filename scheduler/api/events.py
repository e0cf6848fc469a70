"""The record: who did what to which thing, when and why."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.api.source import Reading
from scheduler.api.views import event_view
from scheduler.database.tables import Badge, Claim, Event, now
from specs.api_v1 import EventView, Page

router = APIRouter(prefix="/v1", tags=["events"])

EventId = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
Subject = Literal["claim", "reproduction", "benchmark", "model", "badge", "worker"]

SETTLING = timedelta(seconds=10)
"""Longer than any of the farm's transactions takes."""

LOOKED_BACK = 1000


@router.get("/events")
def list_events(  # noqa: PLR0913, PLR0917 - the query's parameters
    session: Reading,
    after: EventId = None,
    before: EventId = None,
    order: Literal["oldest", "newest"] = "oldest",
    subject: Subject | None = None,
    subject_id: Annotated[str | None, Query(max_length=200)] = None,
    limit: pages.Limit = 50,
) -> Page[EventView]:
    """Events by id: oldest first, or newest first.

    To follow along, ask with `after` set to the id of the last event that you have; none is missed. `next` is the
    `after` (the `before`, newest first) of the following part, and null at the end.
    """
    conditions: list[ColumnElement[bool]] = []
    if subject is not None:
        conditions.append(Event.subject == subject)
    if subject_id is not None:
        conditions.append(Event.subject_id == subject_id)
    if before is not None:
        conditions.append(Event.event_id < before)
    return _page(session, conditions, after, limit, newest_first=order == "newest")


@router.get("/claims/{claim_id}/events")
def events_of_claim(
    session: Reading, claim_id: IdOrStart, after: EventId = None, limit: pages.Limit = 200
) -> Page[EventView]:
    """All that happened to a claim, its reproduction and its badge, oldest first; `next` as in `/v1/events`."""
    found = session.get_one(Claim, whole_id(session, Claim.claim_id, claim_id, "claim"))
    badge_id = session.scalar(select(Badge.badge_id).where(Badge.claim_id == found.claim_id))
    subjects = {"claim": found.claim_id, "reproduction": found.reproduction_id, "badge": badge_id}
    about = [
        and_(Event.subject == subject, Event.subject_id == subject_id)
        for subject, subject_id in subjects.items()
        if subject_id is not None
    ]
    return _page(session, [or_(*about)], after, limit, newest_first=False)


def _page(
    session: Session, conditions: list[ColumnElement[bool]], after: int | None, limit: int, *, newest_first: bool
) -> Page[EventView]:
    if after is not None:
        conditions.append(Event.event_id > after)
    settled = _settled(session)
    if settled is not None:
        conditions.append(Event.event_id <= settled)
    in_order = Event.event_id.desc() if newest_first else Event.event_id
    rows = session.scalars(select(Event).where(*conditions).order_by(in_order).limit(limit + 1)).all()
    return pages.page(Page[EventView], rows, limit, event_view, lambda row: str(row.event_id))


def _settled(session: Session) -> int | None:
    """The last id before which no event can still appear; None where that is so for all.

    PostgreSQL hands out ids before commit, so a later id may be seen before an earlier one: whoever follows by id
    would miss it. A gap among the newest ids that is still young may yet be filled; what comes after it waits.
    """
    newest = session.execute(select(Event.event_id, Event.at).order_by(Event.event_id.desc()).limit(LOOKED_BACK)).all()
    young = now() - SETTLING
    settled: int | None = None
    for later, earlier in pairwise(newest):
        if later.at < young:
            break
        if later.event_id != earlier.event_id + 1:
            settled = earlier.event_id
    return settled
