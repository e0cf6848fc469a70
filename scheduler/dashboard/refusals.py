"""Pages where no page's own route answers: the gate turned somebody away, or the address leads nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from scheduler.api import problems
from scheduler.dashboard.pages import EXPLAINED, error_page

API = "/v1/"

AT_THE_GATE = {
    HTTPStatus.BAD_REQUEST: "The farm does not take this address.",
    HTTPStatus.UNAUTHORIZED: "This farm is closed: it shows itself to callers that it knows. Ask its operator.",
    HTTPStatus.TOO_MANY_REQUESTS: "You asked for a lot in a short time, or somebody with the same address did.",
    HTTPStatus.SERVICE_UNAVAILABLE: EXPLAINED[HTTPStatus.SERVICE_UNAVAILABLE],
}
NO_READER = "You are signed in, and not among those who may read this farm. Its operator says who may."
NOTHING_DONE = (
    "Nothing was done. Go to the farm's overview and do it from there; if that is where you were, the address in your"
    " browser is not the one that the farm's operator gave it (REPROFARM_PUBLIC_URL)."
)
NOT_TO_BE_VISITED = "This address takes what a page sends to it, and shows nothing by itself."


def refusal_page(scope: Scope, refused: HTTPException) -> Response:
    """The page of who is turned away before a route is asked."""
    request, status = Request(scope), refused.status_code
    if status == HTTPStatus.FORBIDDEN:
        explained = NO_READER if request.method == "GET" else NOTHING_DONE
    else:
        explained = AT_THE_GATE.get(HTTPStatus(status), "")
    return _page(request, status, refused.detail, explained, refused.headers)


async def lost(request: Request, error: Exception) -> Response:
    """For an address with nothing at it, or nothing for this method: a page, unless it is the API's."""
    asks_for_page = "text/html" in request.headers.get("accept", "")
    if not isinstance(error, HTTPException) or request.url.path.startswith(API) or not asks_for_page:
        return await problems.http_problem(request, error)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail, explained = f"{request.method} {request.url.path}", NOT_TO_BE_VISITED
    else:
        detail, explained = request.url.path, EXPLAINED[HTTPStatus.NOT_FOUND]
    return _page(request, error.status_code, detail, explained, error.headers)


def _page(request: Request, status: int, detail: str, explained: str, headers: Mapping[str, str] | None) -> Response:
    # An error's page follows nothing.
    request.state.events_after = ""
    page = error_page(request, HTTPStatus(status), detail, explained)
    page.headers.update(headers or {})
    return page
