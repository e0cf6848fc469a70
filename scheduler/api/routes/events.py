"""The record: who did what to which thing, when and why."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.api.callers.callers import counted_as
from scheduler.api.cursors import FORM, Cursor
from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.event_view import event_view
from scheduler.api.head_requests import is_head
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.api.live import stream
from scheduler.api.live.listeners import Wanted
from scheduler.database.high_watermark import high_watermark
from scheduler.database.tables import Badge, Claim, Event
from specs.api_v1.events import EventPage

router = APIRouter(prefix="/v1", tags=["events"])

EventId = Annotated[
    int | None, Query(ge=0, le=2**63 - 1, description="The `id` of an event: what came before it. Of a list alone.")
]
After = Annotated[
    str | None, Query(pattern=FORM, description="The `cursor` of an event, or its `id`: what follows it.")
]
Subject = Literal["claim", "reproduction", "benchmark", "model", "badge", "key", "worker", "webhook", "token", "user"]


Next = Annotated[str | None, Query(pattern=FORM, description="The `next` of the part before.")]


class Part(BaseModel):
    """Which part of the record is asked for; what is not given is any."""

    cursor: Next = None
    after: After = None
    before: EventId = None
    order: Annotated[Literal["oldest", "newest"], Query(description="Which events come first. Of a list alone.")] = (
        "oldest"
    )
    subject: Annotated[Subject | None, Query(description="Events of such things alone.")] = None
    subject_id: Annotated[str | None, Query(max_length=200, description="Events of the thing with that id alone.")] = (
        None
    )
    limit: pages.Limit = 50

    @property
    def behind(self) -> Cursor | None:
        """From where on; None is from the beginning, or for a stream from now on."""
        return Cursor.parse((None if self.newest_first else self.cursor) or self.after or "")

    @property
    def ends_before(self) -> int | None:
        """The event before which it ends; None is at the latest."""
        found = Cursor.parse(self.cursor or "") if self.newest_first else None
        return found.event_id if found is not None else self.before

    @property
    def newest_first(self) -> bool:
        """In which order."""
        return self.order == "newest"


@router.get("/events", response_model=EventPage, responses=stream.DESCRIBED)
async def list_events(
    request: Request,
    source: TheSource,
    part: Annotated[Part, Query()],
    last_event_id: Annotated[
        str | None,
        Header(description="Of a stream: the `cursor` of the last event that you have, to go on behind it."),
    ] = None,
) -> Response | EventPage:
    """Events by id: oldest first, or newest first.

    To follow along, ask with `after` set to the `cursor` of the last event that you have; none is missed. `next` is the
    `cursor` of the following part, and null at the end. `reset` is there where a restored
    farm does not know the event `after`: read the lists anew, and go on after its `cursor`. With an `id` as `after`,
    such a farm is not told apart once it has as many events again.

    With `Accept: text/event-stream` the answer is a stream that goes on: messages `event` with their cursors as ids,
    which come again from behind `Last-Event-ID` (or `after`); `progress` of runs, which have none; and `reset` where
    too much was missed, or a restored farm does not know the event. `subject` and `subject_id` choose there too, and a
    claim's include the progress of its run.
    """
    wanted = Wanted(part.subject, part.subject_id)
    if stream.is_wanted(request):
        if is_head(request):
            # It would never end: who asked would wait for it before the next answer of the connection.
            return Response(headers=stream.HEADERS, media_type=stream.MEDIA_TYPE)
        return stream.follow(source, wanted, stream.resumed(last_event_id, part.behind), counted_as(request))
    return await run_in_threadpool(_listed, source, wanted, part)


def _listed(source: Source, wanted: Wanted, part: Part) -> EventPage:
    conditions = stream.conditions_of(wanted)
    if part.ends_before is not None:
        conditions.append(Event.event_id < part.ends_before)
    with source.database.reading() as session:
        return _page(session, conditions, part.behind, part.limit, newest_first=part.newest_first)


@router.get("/claims/{claim_id}/events")
def events_of_claim(
    session: Reading, claim_id: IdOrStart, cursor: Next = None, after: After = None, limit: pages.Limit = 200
) -> EventPage:
    """All that happened to a claim, its reproduction and its badge, oldest first.

    `next` and `reset` are as in `/v1/events`.
    """
    found = session.get_one(Claim, whole_id(session, Claim.claim_id, claim_id, "claim"))
    return _page(session, [_about(session, found)], Cursor.parse(cursor or after or ""), limit, newest_first=False)


def latest_of_claim(session: Session, claim_id: str, limit: int) -> EventPage:
    """The last of what happened to a claim, its reproduction and its badge, newest first."""
    found = session.get_one(Claim, claim_id)
    return _page(session, [_about(session, found)], None, limit, newest_first=True)


def _about(session: Session, found: Claim) -> ColumnElement[bool]:
    badge_id = session.scalar(select(Badge.badge_id).where(Badge.claim_id == found.claim_id))
    subjects = {"claim": found.claim_id, "reproduction": found.reproduction_id, "badge": badge_id}
    about = [
        and_(Event.subject == subject, Event.subject_id == subject_id)
        for subject, subject_id in subjects.items()
        if subject_id is not None
    ]
    return or_(*about)


def _page(
    session: Session, conditions: list[ColumnElement[bool]], after: Cursor | None, limit: int, *, newest_first: bool
) -> EventPage:
    complete_to = high_watermark(session)
    if after is not None:
        if after.is_lost(session):
            reset = stream.events_lost(Cursor.at(session, complete_to))
            return EventPage(items=(), next=None, reset=reset)
        conditions.append(Event.event_id > after.event_id)
    conditions.append(Event.event_id <= complete_to)
    in_order = Event.event_id.desc() if newest_first else Event.event_id
    rows = session.scalars(select(Event).where(*conditions).order_by(in_order).limit(limit + 1)).all()
    found = pages.page(
        EventPage, rows, limit, event_view, lambda row: str(row.event_id if newest_first else Cursor.behind(row))
    )
    return EventPage(items=found.items, next=found.next)
