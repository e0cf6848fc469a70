"""The HTTP server: routes put together, errors told the way the Hub tells them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.localhub.api import commits, discussions, oauth, organizations, reading, refs, repos, resolve, uploads, xet
from deploy.localhub.api.rate_limit import RateLimit
from deploy.localhub.errors import HubError
from deploy.localhub.hub import LocalHub
from deploy.localhub.oauth.provider import Grants
from specs.text import clean

_log = logging.getLogger(__name__)


class RawPath:
    """Lets routes see the path as it was sent.

    A branch or pull request comes as one escaped segment (`refs%2Fpr%2F1`); decoded before matching it would be three.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its path undecoded."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii", errors="replace")}
        await self._app(scope, receive, send)


def create_app(folder: Path | str, endpoint: str = "http://localhost") -> FastAPI:
    """The server for a folder. `endpoint` is its URL for webhook payloads; answers use the URL of the request."""
    hub = LocalHub(folder, endpoint)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(hub.close)

    app = FastAPI(title="reprofarm local Hub", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.hub = hub
    app.state.upload_key = secrets.token_bytes(32)
    app.add_middleware(RawPath)
    app.add_middleware(RateLimit)
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _unexpected)
    app.add_api_route("/", _front_page, methods=["GET"], response_class=PlainTextResponse)
    app.state.grants = Grants()
    app.router.routes.extend(_routes())
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Of all parts. They know of no folder, and to make them takes longer than all else of a server."""
    found = APIRouter()
    for part in (oauth, repos, refs, uploads, commits, xet, discussions, organizations, reading, resolve):
        found.include_router(part.router)
    return tuple(found.routes)


def _front_page(request: Request) -> str:
    return f"A local Hub. Point clients at it with HF_ENDPOINT={str(request.base_url).rstrip('/')}\n"


def _hub_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HubError):
        raise error
    headers = dict(error.headers)
    if error.code:
        headers["X-Error-Code"] = error.code
    return _error(error.status, error.message, headers)


def _http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return _error(error.status_code, str(error.detail), dict(error.headers or {}))


def _malformed(_request: Request, error: Exception) -> JSONResponse:
    return _error(400, f"Malformed request: {error}", {})


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, "Internal error; the server's log has the details", {})


def _error(status: int, message: str, headers: dict[str, str]) -> JSONResponse:
    # A header holds one line of Latin-1; the body says it all.
    line = clean(message, 500).encode("latin-1", errors="replace").decode("latin-1")
    return JSONResponse({"error": message}, status, {**headers, "X-Error-Message": line})
