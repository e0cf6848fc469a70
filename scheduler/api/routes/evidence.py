"""Evidence: the Inspect logs of reproductions, by their SHA-256."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import ExitStack, suppress
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from scheduler.api.dependencies import Reading, Source, TheSource
from scheduler.api.head_requests import is_head
from scheduler.api.problems import NotFound
from scheduler.database.tables import Reproduction
from specs.errors import EvidenceAway
from specs.logs.evidence import SUFFIX
from specs.processes.evidence_store import evidence_store, open_log, place_in

router = APIRouter(prefix="/v1/evidence", tags=["evidence"])

PART_BYTES = 256 * 1024
"""Of a log that is sent. Whoever does not read on has the API hold a few of these."""

PIECE_BYTES = 4 * 2**20
"""Of a log that is read at once where much of it is wanted: each is a request to a bucket, and the Hub counts them."""

PIECES_AT_ONCE = 8
"""Logs of which the API holds as much, twice each at rest. Whoever comes later is sent parts that are read as such."""

MEDIA_TYPE = "application/octet-stream"

_places = BoundedSemaphore(PIECES_AT_ONCE)


@router.get(
    "/{sha256}",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The `.eval` file.", "content": {"application/octet-stream": {}}},
        206: {"description": "The range of its bytes that `Range` asks for."},
        416: {"description": "It has no such range."},
    },
)
def download_evidence(
    request: Request, source: TheSource, session: Reading, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
) -> Response:
    """The Inspect log of a completed reproduction, or a range of it; its SHA-256 is in the verdict's badge."""
    return evidence_file(request, source, session, sha256)


def evidence_file(request: Request, source: Source, session: Session, sha256: str) -> Response:
    """The answer to a GET or HEAD for a log, whole or in a range.

    Raises:
        NotFound: no reproduction names it.
        EvidenceAway: the store does not hold it, or does not answer.
    """
    # Only what a reproduction names: the store may hold what is not ours to show.
    size = session.scalar(select(Reproduction.evidence_bytes).where(Reproduction.evidence_sha256 == sha256).limit(1))
    if size is None:
        raise NotFound("no reproduction has this evidence")
    if sha256 in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"etag": f'"{sha256}"'})
    # The name is a hash, so what it names never changes.
    headers = {
        "accept-ranges": "bytes",
        "content-disposition": f'attachment; filename="{sha256}{SUFFIX}"',
        "cache-control": "public, max-age=31536000, immutable",
        "etag": f'"{sha256}"',
        "x-content-type-options": "nosniff",
    }
    first, last, status = 0, size - 1, HTTPStatus.OK
    asked = requested_range(request.headers.get("range"), size)
    if asked is not None:
        first, last = asked
        if first > last:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
        status = HTTPStatus.PARTIAL_CONTENT
        headers["content-range"] = f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(last - first + 1)
    if is_head(request):
        return Response(status_code=status, headers=headers, media_type=MEDIA_TYPE)
    log = _open(source.settings.evidence_url, sha256, size, min(last - first + 1, PART_BYTES))
    return _LogResponse(_parts(log, first, last), status, headers)


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a `Range` header asks for (RFC 9110, section 14.1.2); first > last where there are none.

    None for the whole: there is no such header, or one of a kind that a server may ignore, such as several ranges.
    """
    found = re.fullmatch(r"bytes=(\d{0,19})-(\d{0,19})", header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])) if int(found[2]) else size, size - 1
    return int(found[1]), min(int(found[2]), size - 1) if found[2] else size - 1


class _LogResponse(StreamingResponse):
    """Closes what it sends when it ends, also where nobody reads it to its end: else that waits for a collection."""

    def __init__(self, parts: Generator[bytes], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(parts, status, headers, MEDIA_TYPE)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A server that is told to stop does not wait for the thread that reads.
            with suppress(ValueError):
                self._parts.close()


def _open(evidence_url: str, sha256: str, size: int, ahead: int) -> Any:  # a file of fsspec, which has no types
    try:
        files, root = evidence_store(evidence_url)
        found = files.size(place_in(root, sha256))
        log = open_log(files, root, sha256, ahead)
    except FileNotFoundError as error:
        raise EvidenceAway("the evidence store has lost this file; the farm's operator must look") from error
    except Exception as error:  # every remote store has errors of its own
        raise EvidenceAway(
            "the evidence store does not answer; the farm's operator must look, and its log has why"
        ) from error
    if found != size:
        log.close()
        raise EvidenceAway("the evidence store holds another file under this name; the farm's operator must look")
    return log


def _parts(log: Any, first: int, last: int) -> Generator[bytes]:  # as above
    read_bytes = PART_BYTES
    with ExitStack() as held:
        held.enter_context(log)
        log.seek(first)
        left = last - first + 1
        while left:
            # Kept to the end: the file holds its last piece for as long as it is open.
            if read_bytes < PIECE_BYTES and left > PIECE_BYTES // 4 and _places.acquire(blocking=False):
                held.callback(_places.release)
                read_bytes = PIECE_BYTES
            piece = log.read(min(left, read_bytes))
            if not piece:
                break
            left -= len(piece)
            for start in range(0, len(piece), PART_BYTES):
                yield piece[start : start + PART_BYTES]
