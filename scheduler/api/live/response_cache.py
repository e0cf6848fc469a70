"""A cache of responses with ETags: what has not changed is not worked out again, and answered with 304.

While the follower's mark stays the same, so does every answer, and a poll is answered without the database. Where the
mark moved, the answer is worked out and compared by its digest. So a remembered answer is as old as the follower's last
look at most. What makes no event and no progress (where a claim was last read, say) is seen some seconds later. What
rests on a count that is taken seldom (scheduler/api/live/count_cache.py) is as old as that count, and no older.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.api.dependencies import KEEP_UNTIL
from scheduler.api.live.follower import Follower, Mark

LOOKED_AT_AGAIN_SECONDS = 5.0
"""After so long an answer is worked out again if anything at all was written meanwhile."""

MAX_ANSWER_BYTES = 4 * 2**20
"""Larger ones get no ETag; no list comes near it."""

Headers = list[tuple[bytes, bytes]]

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
class _Said:
    """What was answered."""

    status: int
    headers: Headers
    body: bytes
    etag: bytes | None
    """None where it is an error."""


@dataclass(frozen=True)
class _Answer:
    """What was answered, and the mark from before it was worked out."""

    mark: Mark
    at: float
    live: bool
    said: _Said

    until: float = math.inf
    """When something in it is counted again, which may give another answer although the mark is the same."""

    @property
    def size(self) -> int:
        return len(self.said.body) + 1000

    def holds(self, mark: Mark | None, at: float) -> bool:
        """Whether it is still what would be answered."""
        if at >= self.until:
            return False
        if mark is None or self.mark == mark:
            return mark is not None
        if self.mark.events != mark.events or (self.live and self.mark.progress != mark.progress):
            return False
        return at - self.at < LOOKED_AT_AGAIN_SECONDS


@dataclass(frozen=True)
class _Asked:
    """What a request's headers say."""

    etags: bytes | None = None
    afresh: bool = False
    """The caller wants no remembered answer, or shows who they are, which the routes check."""

    stream: bool = False

    @classmethod
    def of(cls, scope: Scope) -> _Asked:
        etags, afresh, stream = None, False, False
        for name, value in scope["headers"]:
            if name == b"if-none-match":
                etags = value
            elif name == b"authorization" or (name == b"cache-control" and b"no-cache" in value):
                afresh = True
            elif name == b"accept" and b"text/event-stream" in value:
                stream = True
        return cls(etags, afresh, stream)

    def has(self, etag: bytes) -> bool:
        """Whether the caller has that one already. Weak comparison, as RFC 9110 wants for If-None-Match."""
        return self.etags is not None and (etag in self.etags or self.etags.strip() == b"*")


class _UnderWay:
    """An answer that is being worked out."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.said: _Said | None = None
        """None as long as it is not done, and where it cannot be said to others."""


class ResponseCache:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, follower: Follower, memory_bytes: int) -> None:
        self._app = app
        self._follower = follower
        self._memory_bytes = memory_bytes
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._size = 0
        self._under_way: dict[bytes, _UnderWay] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or have it answered."""
        kind = _kind(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if kind is None:
            await self._app(scope, receive, send)
            return
        asked = _Asked.of(scope)
        if asked.stream and scope["path"] == "/v1/events":
            await self._app(scope, receive, send)
            return
        if not kind.remembered or asked.afresh or not self._memory_bytes:
            await self._work_out(scope, receive, send, asked, lambda _said: None)
            return
        key: bytes = scope["raw_path"] + b"?" + scope["query_string"]
        said = self._known(key) or await self._of_others(key)
        if said is not None:
            await _say(send, asked, said)
            return
        mine = _UnderWay()
        self._under_way.setdefault(key, mine)
        try:
            await self._remember(key, kind, scope, receive, send, asked, mine)
        finally:
            if self._under_way.get(key) is mine:
                del self._under_way[key]
            mine.done.set()

    async def _of_others(self, key: bytes) -> _Said | None:
        """What comes of others asking the same: many who poll it come together when it changes, or when it is gone.

        An answer that was under way before is as old as its beginning: it counts if it is remembered. The next one
        counts whatever it is, errors too, which are not remembered. So nobody waits for more than two.
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

    def _known(self, key: bytes) -> _Said | None:
        known = self._answers.get(key)
        if known is None or not known.holds(self._follower.mark, time.monotonic()):
            return None
        self._answers.move_to_end(key)
        return known.said

    async def _remember(  # noqa: PLR0913, PLR0917 - a request is four of them
        self, key: bytes, kind: _Kind, scope: Scope, receive: Receive, send: Send, asked: _Asked, mine: _UnderWay
    ) -> None:
        # From before the answer is worked out: what changes meanwhile may or may not be in it.
        mark, state = self._follower.mark, scope.setdefault("state", {})

        def keep(said: _Said) -> None:
            mine.said = said
            if mark is not None and said.etag is not None:
                until = state.get(KEEP_UNTIL, math.inf)
                self._put(key, _Answer(mark, time.monotonic(), kind.live, said, until))

        await self._work_out(scope, receive, send, asked, keep)

    def _put(self, key: bytes, answer: _Answer) -> None:
        before = self._answers.pop(key, None)
        self._size -= before.size if before else 0
        self._answers[key] = answer
        self._size += answer.size
        while self._size > self._memory_bytes:
            _, oldest = self._answers.popitem(last=False)
            self._size -= oldest.size

    async def _work_out(
        self, scope: Scope, receive: Receive, send: Send, asked: _Asked, keep: Callable[[_Said], None]
    ) -> None:
        start: Message | None = None
        parts: list[bytes] = []
        size = 0

        async def take(message: Message) -> None:
            nonlocal start, size
            if message["type"] == "http.response.start":
                start = message
                return
            if start is None:
                await send(message)
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > MAX_ANSWER_BYTES:
                await send(start)
                await send({"type": "http.response.body", "body": b"".join(parts), "more_body": more})
                start = None
            elif not more:
                said = _said(start, b"".join(parts))
                keep(said)
                await _say(send, asked, said)

        await self._app(scope, receive, take)


def _said(start: Message, body: bytes) -> _Said:
    status, headers = start["status"], list(start.get("headers", ()))
    if status != 200:
        return _Said(status, headers, body, None)
    etag, headers = _with_etag(headers, body)
    return _Said(status, headers, body, etag)


def _with_etag(headers: Headers, body: bytes) -> tuple[bytes, Headers]:
    named = {name.lower(): value for name, value in headers}
    etag = named.get(b"etag") or b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
    more: Headers = [(b"etag", etag)] if b"etag" not in named else []
    if b"cache-control" not in named:
        # Kept by whoever likes, and asked about each time, which is cheap.
        more.append((b"cache-control", b"no-cache"))
    return etag, [*headers, *more]


async def _say(send: Send, asked: _Asked, said: _Said) -> None:
    if said.etag is not None and asked.has(said.etag):
        kept = [(name, value) for name, value in said.headers if name not in (b"content-length", b"content-type")]
        await send({"type": "http.response.start", "status": 304, "headers": kept})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": said.status, "headers": said.headers})
    await send({"type": "http.response.body", "body": said.body})
