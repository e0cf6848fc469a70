"""Answers that a poller can ask for again cheaply: JSON with an ETag, and lists in pages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from deploy.localhub.api.request import endpoint_of
from deploy.localhub.errors import BadRequestError

MAX_PAGE = 1000


def json_with_etag(request: Request, payload: object, headers: dict[str, str] | None = None) -> Response:
    """JSON, or 304 without a body if the caller has the same already (`If-None-Match`)."""
    content = json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:40]}"'
    all_headers = {**(headers or {}), "ETag": etag, "Cache-Control": "no-cache", "Vary": "Authorization"}
    if etag_matches(request, etag):
        return Response(status_code=304, headers=all_headers)
    return Response(content, media_type="application/json", headers=all_headers)


def etag_matches(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` names this ETag (weak comparison, RFC 9110, section 13.1.2)."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or etag in {part.strip().removeprefix("W/") for part in known.split(",")}


def paged(
    request: Request, items: Sequence[Any], render: Callable[[Any], object], *, page_size: int = MAX_PAGE
) -> Response:
    """A page of a list from `cursor` on, with a `Link` header to the next one as the Hub's client follows it."""
    start = number_of(request, "cursor", 0)
    end = start + min(max(page_size, 1), MAX_PAGE)
    headers = link_to_next(request, end) if end < len(items) else {}
    return json_with_etag(request, [render(item) for item in items[start:end]], headers)


def link_to_next(request: Request, cursor: int) -> dict[str, str]:
    """The header that leads to the same list from `cursor` on."""
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    address = f"{endpoint_of(request)}{request.scope['path']}?{urlencode([*query, ('cursor', cursor)])}"
    return {"Link": f'<{address}>; rel="next"'}


def number_of(request: Request, name: str, default: int) -> int:
    """A query parameter that is a whole number, 0 or more.

    Raises:
        BadRequestError: it is something else.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequestError(f"{name} must be a number")
    return int(text)


def flag_of(request: Request, name: str) -> bool:
    """A query parameter that switches something on."""
    return request.query_params.get(name, "").lower() in ("1", "true", "yes")
