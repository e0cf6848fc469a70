"""Routes that hand out files: whole, in part, or only what names them (HEAD)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from deploy.localhub.api.access import require_files
from deploy.localhub.api.answers import etag_matches
from deploy.localhub.api.request import Caller, Hub, Repo
from deploy.localhub.content import Entry
from deploy.localhub.errors import BadRequestError, EntryNotFoundError

router = APIRouter()
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PULL_REQUEST = re.compile(r"(refs/pr/\d+)/(.+)")
# What a browser would run or show as a page of this server is handed out as plain bytes or text.
_TEXT_SUFFIXES = (".md", ".txt", ".yaml", ".yml", ".json", ".jsonl", ".csv", ".py", ".gitattributes", ".html", ".svg")


def resolve(request: Request, hub: Hub, repo: Repo, caller: Caller) -> Response:
    """One file at a revision."""
    require_files(hub, caller, repo)
    revision, path = _split(request.path_params["rest"])
    snapshot = hub.storage.snapshot(repo.name, revision)
    entry = snapshot.entry(path)
    if entry.is_folder:
        raise EntryNotFoundError(path, snapshot.commit)
    headers = _headers(entry, snapshot.commit)
    if etag_matches(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    media_type = "text/plain; charset=utf-8" if path.endswith(_TEXT_SUFFIXES) else "application/octet-stream"
    large = snapshot.large_path(entry)
    if large is not None:
        return FileResponse(large, media_type=media_type, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(entry.size)
        return Response(media_type=media_type, headers=headers)
    content = snapshot.git.blobs([entry.oid])[entry.oid]
    return _part_of(content, request.headers.get("range"), media_type, headers)


for _address in ("/{namespace}/{name}/resolve/{rest:path}", "/{kind}/{namespace}/{name}/resolve/{rest:path}"):
    router.add_api_route(_address, resolve, methods=["GET", "HEAD"], response_model=None)


def _split(rest: str) -> tuple[str, str]:
    """Revision and path of `REVISION/PATH`, where a pull request's ref may have come with its slashes as they are."""
    match = _PULL_REQUEST.fullmatch(rest)
    revision, _, path = (match[1], "/", match[2]) if match else rest.partition("/")
    try:
        return unquote(revision, errors="strict"), unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequestError("The address is not UTF-8") from error


def _headers(entry: Entry, commit: str) -> dict[str, str]:
    name = PurePosixPath(entry.path).name
    headers = {
        "ETag": f'"{entry.etag}"',
        "X-Repo-Commit": commit,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Authorization",
    }
    if entry.large:
        headers |= {"X-Linked-ETag": f'"{entry.large.sha256}"', "X-Linked-Size": str(entry.large.size)}
    return headers


def _part_of(content: bytes, wanted: str | None, media_type: str, headers: dict[str, str]) -> Response:
    """The content or the one range asked for (RFC 9110, section 14); a range that is not understood is ignored."""
    match = _RANGE.fullmatch(wanted or "")
    if match is None or (not match[1] and not match[2]):
        return Response(content, media_type=media_type, headers=headers)
    size = len(content)
    if match[1]:
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        start, end = max(size - int(match[2]), 0), size - 1
    if start > end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(content[start : end + 1], status_code=206, media_type=media_type, headers=headers)
