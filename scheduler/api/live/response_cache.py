"""A cache of responses with ETags: what has not changed is not worked out again, and answered with 304.

While the follower's mark stays the same, so does every answer, and a poll is answered without the database. Where the
mark moved, the answer is worked out and compared by its digest. So a remembered answer is as old as the follower's last
look at most. What makes no event and no progress (where a claim was last read, say) is seen some seconds later. What
rests on a count that is taken seldom (scheduler/api/live/count_cache.py) is as old as that count, and no older. What
time alone changes, such as how long a queue has waited, says for how long it holds (`keep_for`).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.api.dependencies import KEEP_UNTIL
from scheduler.api.live.answer_memory import Answer, AnswerMemory, Headers, Said
from scheduler.api.live.follower import Follower
from scheduler.api.problems import OF_ITS_CALLER

LIVE = ("claims", "reproductions", "overview", "workers", "pools", "benchmarks", "models")
"""Below `/v1`: what shows how far runs are, or which workers live."""

OF_RECORD = ("verdicts", "badges", "revocations", "events", "points", "noise")
"""Below `/v1`: what changes with events alone."""

PUBLIC_PLACES = ("/badges/", "/feeds/", "/.well-known/jwks.json")

NEVER = ("/v1/evidence/",)
"""Streams of files, with ETags of their own."""


@dataclass(frozen=True)
class _Kind:
    remembered: bool
    live: bool


_LIVE, _RECORD, _OTHER = _Kind(True, True), _Kind(True, False), _Kind(False, True)


def _kind(path: str) -> _Kind | None:
    """How an address is treated; None for what is left alone."""
    if path.startswith("/v1/") and not path.startswith(NEVER):
        first = path[4:].partition("/")[0]
        # What is not known here may differ from one caller to another: compared, not remembered.
        return _LIVE if first in LIVE else _RECORD if first in OF_RECORD else _OTHER
    # A badge that says "running" changes with its claim's state, which is an event.
    return _RECORD if path.startswith(PUBLIC_PLACES) else None


@dataclass(frozen=True)
class _Request:
    """A request, and what its headers say."""

    scope: Scope
    receive: Receive
    send: Send
    etags: bytes | None
    afresh: bool
    """The caller wants no remembered answer."""

    stream: bool

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send) -> _Request:
        etags, afresh, stream = None, False, False
        for name, value in scope["headers"]:
            if name == b"if-none-match":
                etags = value
            elif name == b"cache-control" and b"no-cache" in value:
                afresh = True
            elif name == b"accept" and b"text/event-stream" in value:
                stream = True
        return cls(scope, receive, send, etags, afresh, stream)

    @property
    def key(self) -> bytes:
        """What its answer is remembered by."""
        key: bytes = self.scope["raw_path"] + b"?" + self.scope["query_string"]
        return key

    async def answer(self, said: Said) -> None:
        """Say that, or that the caller has it already."""
        if said.etag is not None and self._has(said.etag):
            kept = [(name, value) for name, value in said.headers if name not in (b"content-length", b"content-type")]
            await self.send({"type": "http.response.start", "status": 304, "headers": kept})
            await self.send({"type": "http.response.body", "body": b""})
            return
        await self.send({"type": "http.response.start", "status": said.status, "headers": said.headers})
        await self.send({"type": "http.response.body", "body": said.body})

    def _has(self, etag: bytes) -> bool:
        # Weak comparison, as RFC 9110 wants for If-None-Match.
        return self.etags is not None and (etag in self.etags or self.etags.strip() == b"*")


class _UnderWay:
    """An answer that is being worked out."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.said: Said | None = None
        """None until it has been worked out, and if working it out failed or came to what its caller alone is told."""


class ResponseCache:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, follower: Follower, memory_bytes: int) -> None:
        self._app = app
        self._follower = follower
        self._remembers = memory_bytes > 0
        self._memory = AnswerMemory(memory_bytes)
        self._under_way: dict[bytes, _UnderWay] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or have it answered."""
        kind = _kind(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if kind is None:
            await self._app(scope, receive, send)
            return
        request = _Request.of(scope, receive, send)
        if request.stream and scope["path"] == "/v1/events":
            await self._app(scope, receive, send)
            return
        if not kind.remembered or request.afresh or not self._remembers:
            said = await self._work_out(request)
        else:
            key = request.key
            said = self._known(key) or await self._of_others(key) or await self._remember(key, kind, request)
        # Last, when nobody waits for this answer and it holds no connection: who asked may take long to read it.
        await request.answer(said)

    async def _of_others(self, key: bytes) -> Said | None:
        """What comes of others asking the same: many who poll it come together when it changes, or when it is gone.

        An answer that was under way before is as old as its beginning: it counts if it is remembered. The next one
        counts whatever it is, errors too, which are not remembered, but for refusals of whoever asked. So nobody waits
        for more than two.
        """
        before = self._under_way.get(key)
        if before is None:
            return None
        await before.done.wait()
        known, after = self._known(key), self._under_way.get(key)
        if known is not None or after is None:
            return known
        await after.done.wait()
        return after.said or self._known(key)

    def _known(self, key: bytes) -> Said | None:
        return self._memory.known(key, self._follower.mark)

    async def _remember(self, key: bytes, kind: _Kind, request: _Request) -> Said:
        mine = _UnderWay()
        self._under_way.setdefault(key, mine)
        # From before the answer is worked out: what changes meanwhile may or may not be in it.
        mark, state = self._follower.mark, request.scope.setdefault("state", {})
        try:
            said = await self._work_out(request)
            if OF_ITS_CALLER not in state:
                mine.said = said
            if mark is not None and said.etag is not None:
                until = state.get(KEEP_UNTIL, math.inf)
                self._memory.put(key, Answer(mark, time.monotonic(), kind.live, said, until))
            return said
        finally:
            if self._under_way.get(key) is mine:
                del self._under_way[key]
            mine.done.set()

    async def _work_out(self, request: _Request) -> Said:
        start: Message = {}
        parts: list[bytes] = []

        async def take(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            else:
                parts.append(message.get("body", b""))

        await self._app(request.scope, request.receive, take)
        return _said(start, b"".join(parts))


def _said(start: Message, body: bytes) -> Said:
    status, headers = start["status"], list(start.get("headers", ()))
    if status != 200:
        return Said(status, headers, body, None)
    etag, headers = _with_etag(headers, body)
    return Said(status, headers, body, etag)


def _with_etag(headers: Headers, body: bytes) -> tuple[bytes, Headers]:
    named = {name.lower(): value for name, value in headers}
    etag = named.get(b"etag") or b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
    more: Headers = [(b"etag", etag)] if b"etag" not in named else []
    if b"cache-control" not in named:
        # Kept by whoever likes, and asked about each time, which is cheap.
        more.append((b"cache-control", b"no-cache"))
    return etag, [*headers, *more]
