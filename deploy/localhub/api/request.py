"""What every route needs of a request: the hub, who asks, which repo, a bounded body."""

from __future__ import annotations

import json
import tempfile
from typing import Annotated, Any, BinaryIO, cast
from urllib.parse import unquote

from fastapi import Depends, Request

from deploy.localhub.errors import BadRequestError, MovedError, NotFoundError, RepoNotFoundError, TooLargeError
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import RepoName, RepoType
from deploy.localhub.registry import RepoSettings
from deploy.localhub.tokens import Visitor

MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_COMMIT_BYTES = 256 * 1024 * 1024
_IN_MEMORY_BYTES = 1024 * 1024
_TYPES = {"models": RepoType.MODEL, "datasets": RepoType.DATASET}


def the_hub(request: Request) -> LocalHub:
    """The folder that this server offers."""
    return cast("LocalHub", request.app.state.hub)


def the_visitor(request: Request) -> Visitor:
    """Who asks.

    Raises:
        UnauthorizedError: the token is unknown.
    """
    return the_hub(request).storage.tokens.visitor(request.headers.get("authorization"))


def endpoint_of(request: Request) -> str:
    """The URL of this server as the caller sees it, without a slash at the end."""
    return str(request.base_url).rstrip("/")


def path_value(request: Request, name: str) -> str:
    """A parameter of the route, with its percent-escapes undone.

    Routes are matched on the path as it was sent (see app.RawPath), so that `refs%2Fpr%2F1` is one segment.

    Raises:
        BadRequestError: the escapes are not UTF-8.
    """
    try:
        return unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequestError("The address is not UTF-8") from error


def visible_repo(request: Request) -> RepoSettings:
    """The repo that the address names, if the caller may know of it.

    Raises:
        MovedError: it has another id.
        RepoNotFoundError: it is not there, or private and not the caller's.
    """
    kind = request.path_params.get("kind", "models")
    if kind not in _TYPES:
        raise NotFoundError("Sorry, we can't find the page you are looking for.")
    visitor = the_visitor(request)
    wanted = f"{path_value(request, 'namespace')}/{path_value(request, 'name')}"
    registry = the_hub(request).storage.registry
    try:
        repo = RepoName(_TYPES[kind], wanted)
        moved = registry.moved(repo)
        settings = moved or registry.find(repo)
    except RepoNotFoundError as error:
        raise RepoNotFoundError(wanted[:200], logged_in=visitor.logged_in) from error
    if settings.private and not visitor.owns(settings.name):
        raise RepoNotFoundError(wanted, logged_in=visitor.logged_in)
    if moved is not None:
        raise MovedError(_at(request, moved.name.id))
    return settings


def _at(request: Request, repo_id: str) -> str:
    """The address of a request, with another repo in it."""
    asked = "/{namespace}/{name}".format_map(request.path_params)
    query = request.url.query
    path: str = request.scope["path"]
    return path.replace(asked, f"/{repo_id}", 1) + (f"?{query}" if query else "")


async def bounded_body(request: Request, max_bytes: int, sink: BinaryIO) -> None:
    """Write the body to `sink`.

    Raises:
        TooLargeError: it is longer than that.
    """
    length = request.headers.get("content-length", "0")
    size = int(length) if length.isascii() and length.isdigit() else 0
    if size > max_bytes:
        raise TooLargeError(f"The body has more than {max_bytes} bytes")
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise TooLargeError(f"The body has more than {max_bytes} bytes")
        sink.write(chunk)


async def small_body(request: Request) -> bytes:
    """A body that fits into memory."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        await bounded_body(request, MAX_JSON_BYTES, cast("BinaryIO", file))
        file.seek(0)
        return file.read()


async def json_body(request: Request) -> dict[str, Any]:
    """A JSON object; an empty body is an empty object.

    Raises:
        BadRequestError: the body is something else.
    """
    content = await small_body(request)
    try:
        value = json.loads(content) if content.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadRequestError("The body is not JSON") from error
    if not isinstance(value, dict):
        raise BadRequestError("The body is not a JSON object")
    return value


def text_of(body: dict[str, Any], key: str, default: str | None = None) -> str:
    """A text of a JSON object.

    Raises:
        BadRequestError: it is missing and has no default, or is no text.
    """
    value = body.get(key)
    if value is None and default is not None:
        return default
    # JSON can spell half a surrogate pair, which no file and no database holds.
    if not isinstance(value, str) or any("\ud800" <= char <= "\udfff" for char in value):
        raise BadRequestError(f"{key} must be a text")
    return value


Hub = Annotated[LocalHub, Depends(the_hub)]
Caller = Annotated[Visitor, Depends(the_visitor)]
Repo = Annotated[RepoSettings, Depends(visible_repo)]
JsonBody = Annotated[dict[str, Any], Depends(json_body)]
