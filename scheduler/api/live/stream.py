"""The record as Server-Sent Events: what was missed from the database, then what happens as it happens.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import ColumnElement, func, select
from sse_starlette import EventSourceResponse, ServerSentEvent

from scheduler.api import pages
from scheduler.api.cursors import Cursor
from scheduler.api.dependencies import Source
from scheduler.api.live.follower import event_message
from scheduler.api.live.listeners import Listener, Message, Wanted
from scheduler.api.problems import Busy
from scheduler.database.tables import Event
from specs.api_v1.events import KINDS, EventsLost

MEDIA_TYPE = "text/event-stream"

TOLD_AGAIN = 10_000
"""Events that one who comes back is told at most; who missed more starts anew."""

READ_AT_ONCE = 500
HEARTBEAT_SECONDS = 15
SEND_SECONDS = 30
"""Who takes nothing for so long is let go."""

RETRY_MILLISECONDS = 2000

ASKED_AGAIN_SECONDS = 300
"""Where reading is not public, a stream ends after that time: who comes back shows again that they may read."""

HEADERS = {
    "cache-control": "no-store",
    "vary": "accept",
    # Else nginx keeps messages back until it has a bufferful.
    "x-accel-buffering": "no",
}

DESCRIBED: dict[int | str, dict[str, object]] = {
    200: {
        "description": "A part of the record, or, with `Accept: text/event-stream`, all that happens from now on.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


def is_wanted(request: Request) -> bool:
    """Whether a request asks for the stream."""
    return MEDIA_TYPE in request.headers.get("accept", "")


def resumed(last_event_id: str | None, after: Cursor | None) -> Cursor | None:
    """Where to go on: behind the last message that somebody had, else where the address says. None is from now on."""
    return Cursor.parse(last_event_id or "") or after


def follow(source: Source, wanted: Wanted, after: Cursor | None, who: str) -> EventSourceResponse:
    """The stream of what fits, from behind `after`; None is from now on. `who` is as they are counted.

    Raises:
        Busy: as many follow as this process takes, of all or of them.
    """
    if (full := source.live.full_for(who)) is not None:
        raise Busy(f"{full}; ask for the list instead, or come back")
    return EventSourceResponse(
        _messages(source, wanted, after, who), headers=HEADERS, ping=HEARTBEAT_SECONDS, send_timeout=SEND_SECONDS
    )


async def _messages(source: Source, wanted: Wanted, after: Cursor | None, who: str) -> AsyncIterator[ServerSentEvent]:
    if source.live.full_for(who) is not None:
        # Others who asked at the same moment were quicker.
        return
    # Joined before anything is read, so that nothing falls between what was and what comes.
    listener = source.live.join(wanted, who)
    try:
        # A process that has just started does not know yet what was before; who comes back would miss all of it.
        await source.live.begun()
        # From now on is from behind this, also for a browser whose connection breaks before it had any.
        begins = str(listener.start) if after is None else None
        yield ServerSentEvent(comment="events follow", retry=RETRY_MILLISECONDS, id=begins)
        if after is not None and await run_in_threadpool(_is_lost, source, after):
            # Of a record as it was before the database was restored: some of what came since would be passed over.
            yield _lost(listener)
            after = None
        elif after is not None:
            async for missed in _missed(source, listener, after.event_id):
                yield missed
        ends_at = None if source.settings.public_reading else asyncio.get_running_loop().time() + ASKED_AGAIN_SECONDS
        async for message in _coming(listener, after.event_id if after else 0, ends_at):
            yield message
    finally:
        source.live.leave(listener)


async def _missed(source: Source, listener: Listener, after: int) -> AsyncIterator[ServerSentEvent]:
    conditions = [Event.event_id <= listener.start.event_id, *conditions_of(listener.wanted)]
    if await run_in_threadpool(_too_many, source, conditions, after):
        yield _lost(listener)
        return
    while True:
        part = await run_in_threadpool(_read, source, conditions, after)
        for message in part:
            yield _sent(message)
        if len(part) < READ_AT_ONCE:
            return
        last = part[-1].cursor
        after = last.event_id if last else after


def _lost(listener: Listener) -> ServerSentEvent:
    lost = events_lost(listener.start)
    return ServerSentEvent(event="reset", data=lost.model_dump_json(), id=str(listener.start))


async def _coming(listener: Listener, after: int, ends_at: float | None) -> AsyncIterator[ServerSentEvent]:
    clock = asyncio.get_running_loop().time
    while not (listener.too_slow and listener.queue.empty()) and (ends_at is None or clock() < ends_at):
        try:
            async with asyncio.timeout_at(ends_at):
                message = await listener.queue.get()
        except TimeoutError:
            return
        # Another process may have told it up to `after` already, and this one is a little behind.
        if message.cursor is None or message.cursor.event_id > after:
            yield _sent(message)


def _sent(message: Message) -> ServerSentEvent:
    behind = str(message.cursor) if message.cursor is not None else None
    return ServerSentEvent(data=message.data, event=message.event, id=behind)


def conditions_of(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Of events that somebody wants."""
    found = pages.fitting((Event.subject, wanted.subject), (Event.subject_id, wanted.subject_id))
    if wanted.subject is None and wanted.subject_id is not None:
        # The index begins with the subject: each of them is looked up, and not the whole record gone through.
        found.append(Event.subject.in_(KINDS))
    return found


def events_lost(start: Cursor) -> EventsLost:
    """What somebody is told who cannot be told all that happened; they go on behind `start`."""
    return EventsLost(last_event_id=start.event_id, cursor=str(start))


def _is_lost(source: Source, after: Cursor) -> bool:
    with source.database.reading() as session:
        return after.is_lost(session)


def _too_many(source: Source, conditions: Sequence[ColumnElement[bool]], after: int) -> bool:
    with source.database.reading() as session:
        some = select(Event.event_id).where(Event.event_id > after, *conditions).limit(TOLD_AGAIN + 1).subquery()
        return (session.scalar(select(func.count()).select_from(some)) or 0) > TOLD_AGAIN


def _read(source: Source, conditions: Sequence[ColumnElement[bool]], after: int) -> list[Message]:
    query = select(Event).where(Event.event_id > after, *conditions).order_by(Event.event_id).limit(READ_AT_ONCE)
    with source.database.reading() as session:
        return [event_message(event) for event in session.scalars(query)]
