"""What browsers are told: who may read the API from a page, and to take nothing for what it does not say it is."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOSNIFF = (b"x-content-type-options", b"nosniff")

ASKED_WITH = ("accept", "authorization", "if-none-match", "last-event-id")
READABLE = (
    "etag",
    "link",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "www-authenticate",
)
PREFLIGHT_SECONDS = 600


class SafeHeaders:
    """Adds to each answer what it does not say itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start" and NOSNIFF not in message["headers"]:
                message["headers"] = [*message["headers"], NOSNIFF]
            await send(message)

        await self._app(scope, receive, add)


def let_pages_read(app: FastAPI, origins: str) -> None:
    """Allow reading from pages of these origins, by commas; without credentials, and nothing but reading."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=("GET",),
            allow_headers=ASKED_WITH,
            expose_headers=READABLE,
            max_age=PREFLIGHT_SECONDS,
        )
