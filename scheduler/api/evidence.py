"""Evidence: the Inspect logs of reproductions, by their SHA-256."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from fsspec.core import url_to_fs
from sqlalchemy import select

from scheduler.api.problems import EvidenceAway, NotFound
from scheduler.api.source import Reading, TheSource
from scheduler.database.tables import Reproduction
from specs.evidence import SUFFIX, path_in_store

router = APIRouter(prefix="/v1/evidence", tags=["evidence"])

PART_BYTES = 256 * 1024


@router.get(
    "/{sha256}",
    response_class=StreamingResponse,
    responses={200: {"description": "The `.eval` file.", "content": {"application/octet-stream": {}}}},
)
def download_evidence(
    request: Request, source: TheSource, session: Reading, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
) -> Response:
    """The Inspect log of a completed reproduction; its SHA-256 is in the verdict's badge."""
    # Only what a reproduction names: the store may hold what is not ours to show.
    size = session.scalar(select(Reproduction.evidence_bytes).where(Reproduction.evidence_sha256 == sha256).limit(1))
    if size is None:
        raise NotFound("no reproduction has this evidence")
    if sha256 in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"etag": f'"{sha256}"'})
    # The name is a hash, so what it names never changes.
    headers = {
        "content-length": str(size),
        "content-disposition": f'attachment; filename="{sha256}{SUFFIX}"',
        "cache-control": "public, max-age=31536000, immutable",
        "etag": f'"{sha256}"',
        "x-content-type-options": "nosniff",
    }
    log = _open(source.settings.evidence_url, sha256, size)
    return StreamingResponse(_parts(log), media_type="application/octet-stream", headers=headers)


def _open(evidence_url: str, sha256: str, size: int) -> Any:  # a file of fsspec, which has no types
    filesystem, folder = url_to_fs(evidence_url)
    path = f"{folder.rstrip('/')}/{path_in_store(sha256)}"
    try:
        if filesystem.size(path) != size:
            raise EvidenceAway("the evidence store holds another file under this name; the farm's operator must look")
        return filesystem.open(path, "rb")
    except FileNotFoundError as error:
        raise EvidenceAway("the evidence store has lost this file; the farm's operator must look") from error
    except OSError as error:
        raise EvidenceAway("the evidence store does not answer") from error


def _parts(log: Any) -> Iterator[bytes]:  # as above
    with log:
        while part := log.read(PART_BYTES):
            yield part
