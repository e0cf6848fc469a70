"""Says with every answer how many requests are left, in the headers and by the kinds that huggingface.co uses.

Counts by whoever asks, in a fixed window, and refuses nobody: a Hub in a folder has nothing to protect, but its clients
read these headers.
"""

from __future__ import annotations

import time
from collections import Counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WINDOW_SECONDS = 300
QUOTAS = {"api": 1000, "resolvers": 5000, "pages": 200}
"""Of one window: what https://huggingface.co/docs/hub/rate-limits gives to a free account."""


class RateLimit:
    """Adds the headers `RateLimit` and `RateLimit-Policy`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._window = 0
        self._asked: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with what is left."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = self._headers(scope)

        async def send_with_limit(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, send_with_limit)

    def _headers(self, scope: Scope) -> dict[str, str]:
        window, gone = divmod(int(time.time()), WINDOW_SECONDS)
        if window != self._window:
            self._window, self._asked = window, Counter()
        kind = _kind(scope["path"])
        token = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        who = token.decode("latin-1") or str((scope.get("client") or ("",))[0])
        self._asked[who, kind] += 1
        left = max(QUOTAS[kind] - self._asked[who, kind], 0)
        return {
            "RateLimit": f'"{kind}";r={left};t={WINDOW_SECONDS - gone}',
            "RateLimit-Policy": f'"fixed window";"{kind}";q={QUOTAS[kind]};w={WINDOW_SECONDS}',
        }


def _kind(path: str) -> str:
    if path.startswith("/api/"):
        return "api"
    return "resolvers" if "/resolve/" in path else "pages"
