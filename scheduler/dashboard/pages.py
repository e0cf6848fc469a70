"""Pages as answers: rendered with everything escaped, under a policy that lets nothing foreign in."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from scheduler.access import sign_in
from scheduler.api.problems import DATABASE_ERRORS, KINDS, OUR_FAULT
from scheduler.dashboard import words
from scheduler.dashboard.visitor import visitor_of
from specs.errors import ReprofarmError
from specs.text import clean
from specs.validation_errors import fault

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        # `data:` is the picture of a badge in a preview; scripts cannot come that way.
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    # What a page shows depends on who asks, and changes.
    "cache-control": "private, no-cache",
    "vary": "cookie",
}

NAVIGATION = (
    ("/", "Overview", "activity"),
    ("/claims", "Claims", "list-checks"),
    ("/benchmarks", "Benchmarks", "chart-no-axes-combined"),
    ("/workers", "Workers", "cpu"),
    ("/audit", "Audit trail", "scroll-text"),
    ("/verify", "Verify a token", "shield-check"),
)

EXPLAINED = {
    404: "Nothing is here. The address may be mistyped, or its claim may belong to another farm.",
    409: "Several ids begin like this; give more characters.",
    422: "One of the filters in the address has a value that this page does not take.",
    500: "This is no fault of yours. If it stays, tell the farm's operator.",
    503: "The farm's database does not answer, or is not migrated. Try again in a moment.",
}

NO_SUCH_ADDRESS = "Nothing can have this address. It may be mistyped, or a part of it may be missing."

PASSES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
"""Of which the same address may answer in a moment."""

MAX_DETAIL_CHARS = 300

log = logging.getLogger(__name__)


def render(request: Request, template: str, http_status: int = 200, **shown: object) -> HTMLResponse:
    """A page."""
    text = (
        _environment()
        .get_template(template)
        .render(
            **shown,
            here=request.url.path,
            sign_in_at=sign_in.address(request.scope["path"], request.url.query),
            events_after=request.state.events_after,
            navigation=NAVIGATION,
            visitor=visitor_of(request),
            version=version("reprofarm"),
        )
    )
    return HTMLResponse(text, http_status, HEADERS)


@cache
def asset(path: str) -> str:
    """The address of a file of ours, which changes with what is in it."""
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]
    return f"/static/{path}?v={digest}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    environment.globals.update(asset=asset, icons=words.ICONS, query=words.query)
    return environment


class PageRoute(APIRoute):
    """A route whose errors are pages too, and JSON for who asks for nothing else."""

    explained: ClassVar[dict[int, str]] = EXPLAINED
    """What an error means to who looks at its page, by HTTP status."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, within what turns its exceptions into pages."""
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            # From before anything is read: a page follows the events behind what it shows, and misses none.
            request.state.events_after = request.app.state.source.live.last
            try:
                return await handle(request)
            except Exception as error:
                if _asks_for_json(request):
                    raise
                return self._error_page(request, *_told(error))

        return handle_page

    def _error_page(self, request: Request, status: HTTPStatus, detail: str, explained: str | None = None) -> Response:
        return error_page(request, status, detail, explained or self.explained.get(status, ""))


def _told(error: Exception) -> tuple[HTTPStatus, str, str | None]:
    """What a page says of an error: its status, what is wrong, and what that means if not what it mostly does."""
    if isinstance(error, ReprofarmError) and type(error) in KINDS:
        return KINDS[type(error)][0], str(error), None
    if isinstance(error, RequestValidationError):
        found = error.errors()
        explained = NO_SUCH_ADDRESS if any(each["loc"][0] == "path" for each in found) else None
        return HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(map(fault, found)), explained
    if isinstance(error, HTTPException):
        return HTTPStatus(error.status_code), str(error.detail), None
    if isinstance(error, DATABASE_ERRORS):
        log.error("the database cannot answer: %s", error)
        return HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer", None
    log.error("a page failed", exc_info=error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, OUR_FAULT, None


def error_page(request: Request, status: HTTPStatus, detail: str, explained: str) -> HTMLResponse:
    """What went wrong, for who looks at it."""
    return render(
        request,
        "error.html",
        status,
        title=status.phrase,
        status=int(status),
        detail=clean(detail, MAX_DETAIL_CHARS),
        explained=explained,
        may_pass=status in PASSES and request.method == "GET",
    )


def _asks_for_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "json" in accepted and "text/html" not in accepted
