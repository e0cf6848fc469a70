"""What a farm shows to everybody, as JSON from a file or a URL: bounded, and with errors that name the place."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from deploy.client import ApiError
from deploy.client.connection import REQUEST_SECONDS

MAX_BYTES = 1024 * 1024


def is_url(place: str) -> bool:
    """Whether a place is asked over the network."""
    return place.startswith(("http://", "https://"))


def read_json(place: str, what: str, params: dict[str, str] | None = None) -> object:
    """The JSON in a file or at a URL; `what` is what it should hold, for the error.

    Raises:
        ApiError: there is none.
    """
    content = _download(place, what, params) if is_url(place) else _read(Path(place))
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ApiError(f"{place} is not JSON, so it holds no {what}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise ApiError(f"{path}: {error.strerror}") from error


def _download(url: str, what: str, params: dict[str, str] | None) -> bytes:
    content = bytearray()
    try:
        with httpx2.stream("GET", url, params=params, timeout=REQUEST_SECONDS) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise ApiError(f"{url} answers {answer.status_code}, so the {what} cannot be had")
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise ApiError(f"{url} is longer than any list of {what}")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ApiError(f"the {what} at {url} cannot be had: {error}") from error
    return bytes(content)
