"""Routes by which files arrive: how to send each, large ones by Git LFS, and the commit.

The Git LFS batch API: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md (basic transfers).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import tempfile
import time
from typing import Any, BinaryIO, cast

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from deploy.localhub.api.access import require_owner, require_writer
from deploy.localhub.api.answers import flag_of
from deploy.localhub.api.request import (
    MAX_COMMIT_BYTES,
    Caller,
    Hub,
    JsonBody,
    Repo,
    bounded_body,
    endpoint_of,
    path_value,
    text_of,
    visible_repo,
)
from deploy.localhub.commits import Changes, CommitText
from deploy.localhub.errors import BadRequestError, ForbiddenError, RevisionNotFoundError, TooLargeError
from deploy.localhub.hub import CommitResult, LocalHub
from deploy.localhub.names import check_path, is_sha256, pull_request_number
from deploy.localhub.objects import LargeObject, is_large
from deploy.localhub.registry import RepoSettings
from deploy.localhub.tokens import Visitor

router = APIRouter()
MAX_FILES = 10_000
MAX_LARGE_BYTES = 1024**4
UPLOAD_SECONDS = 6 * 3600
_SPOOL_BYTES = 4 * 1024 * 1024


@router.post("/api/{kind}/{namespace}/{name}/preupload/{revision}")
def preupload(request: Request, hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """How to send each file: within the commit, or as a large object before it."""
    require_writer(caller)
    snapshot = hub.storage.snapshot(repo.name, path_value(request, "revision"))
    answers = []
    for file in _list_of_objects(body, "files"):
        path = check_path(text_of(file, "path"))
        size = file.get("size")
        if not isinstance(size, int) or not 0 <= size <= MAX_LARGE_BYTES:
            raise BadRequestError(f"The size of {path} must be a number of bytes up to {MAX_LARGE_BYTES}")
        mode = "lfs" if is_large(path, size) else "regular"
        answer: dict[str, Any] = {"path": path, "uploadMode": mode, "shouldIgnore": False}
        if known := snapshot.find_file(path):
            answer["oid"] = known.etag
        answers.append(answer)
    return {"files": answers, "commitOid": snapshot.commit}


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch", dependencies=[Depends(visible_repo)])
@router.post("/{kind}/{namespace}/{name}.git/info/lfs/objects/batch", dependencies=[Depends(visible_repo)])
def lfs_batch(request: Request, hub: Hub, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Where to send each large object; those that are here already need not be sent."""
    require_writer(caller)
    if body.get("operation") != "upload":
        raise BadRequestError("Only uploads go this way; downloads use /resolve/")
    answers = []
    for item in _list_of_objects(body, "objects"):
        large = _large_object(item)
        answer: dict[str, Any] = {"oid": large.sha256, "size": large.size}
        if not hub.storage.objects.has(large.sha256):
            expires = int(time.time()) + UPLOAD_SECONDS
            signature = _signature(request, large, expires)
            query = f"size={large.size}&expires={expires}&signature={signature}"
            answer["actions"] = {"upload": {"href": f"{endpoint_of(request)}/lfs-upload/{large.sha256}?{query}"}}
        answers.append(answer)
    return {"transfer": "basic", "hash_algo": "sha256", "objects": answers}


@router.put("/lfs-upload/{sha256}")
async def lfs_upload(
    request: Request, hub: Hub, sha256: str, size: int, expires: int, signature: str
) -> dict[str, str]:
    """Take in one large object. The address is signed: clients send no token here."""
    wanted = LargeObject(sha256, size)
    known = _signature(request, wanted, expires)
    if not hmac.compare_digest(signature.encode(), known.encode()) or expires < time.time():
        raise ForbiddenError("This upload address is not valid, or no longer")
    with hub.storage.objects.receive() as incoming:
        async for chunk in request.stream():
            incoming.write(chunk)
            if incoming.size > size:
                raise TooLargeError(f"More than the {size} bytes announced")
        await run_in_threadpool(incoming.keep, sha256)
    return {"oid": sha256}


@router.post("/api/{kind}/{namespace}/{name}/commit/{revision}")
async def commit(request: Request, hub: Hub, repo: Repo, caller: Caller) -> dict[str, Any]:
    """Commit to a branch or pull request, or with `create_pr` open one. The body is one JSON object a line."""
    require_writer(caller)
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        body = cast("BinaryIO", spool)
        await bounded_body(request, MAX_COMMIT_BYTES, body)
        body.seek(0)
        result = await run_in_threadpool(_commit, request, hub, repo, caller, body)
    page = f"{endpoint_of(request)}/{repo.name.web_path}"
    answer: dict[str, Any] = {
        "success": True,
        "commitOid": result.oid,
        "commitUrl": f"{page}/commit/{result.oid}",
        "hookOutput": "",
    }
    if result.pull_request:
        answer["pullRequestUrl"] = f"{page}/discussions/{result.pull_request}"
    return answer


def _commit(request: Request, hub: LocalHub, repo: RepoSettings, caller: Visitor, body: BinaryIO) -> CommitResult:
    create_pr = flag_of(request, "create_pr")
    revision = path_value(request, "revision")
    author = require_writer(caller) if create_pr else _require_commit_right(hub, repo, caller, revision)
    header, changes = _parse(hub, body)
    text = CommitText(text_of(header, "summary"), author, text_of(header, "description", default=""))
    if create_pr:
        return hub.commit_as_pull_request(repo.name, changes, text, revision)
    parent = header.get("parentCommit")
    return hub.commit_changes(repo.name, changes, text, revision=revision, parent=parent)


def _require_commit_right(hub: LocalHub, repo: RepoSettings, caller: Visitor, revision: str) -> str:
    """An owner may commit anywhere, the author of a pull request to it."""
    number = pull_request_number(revision)
    if number is None:
        return require_owner(caller, repo)
    author = require_writer(caller)
    if hub.storage.git(repo.name).read_ref(revision) is None:
        raise RevisionNotFoundError(revision)
    if author != hub.storage.discussions.find(repo.name, number).author:
        require_owner(caller, repo)
    return author


def _parse(hub: LocalHub, body: BinaryIO) -> tuple[dict[str, Any], Changes]:
    header: dict[str, Any] = {}
    changes = Changes()
    for count, line in enumerate(body):
        if count > MAX_FILES:
            raise TooLargeError(f"More than {MAX_FILES} files in one commit")
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            key, value = item["key"], item["value"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadRequestError(f"Line {count + 1} is not a part of a commit") from error
        if not isinstance(value, dict):
            raise BadRequestError(f"Line {count + 1} has no value")
        if key == "header":
            header = value
        else:
            _add(hub, changes, key, value)
    return header, changes


def _add(hub: LocalHub, changes: Changes, key: str, value: dict[str, Any]) -> None:
    path = text_of(value, "path")
    if key == "file":
        changes.add(path, _content(value), hub.storage.objects)
    elif key == "lfsFile":
        sha256 = text_of(value, "oid")
        if not is_sha256(sha256) or not hub.storage.objects.has(sha256):
            raise BadRequestError(f"The content of {path[:200]} was not uploaded")
        size = hub.storage.objects.path(sha256).stat().st_size
        changes.add_large(path, LargeObject(sha256, size))
    elif key == "deletedFile":
        changes.removed_files.append(path)
    elif key == "deletedFolder":
        changes.removed_folders.append(path)
    else:
        raise BadRequestError(f"Unknown part of a commit: {key!r}"[:200])


def _content(value: dict[str, Any]) -> bytes:
    content = text_of(value, "content")
    if value.get("encoding", "utf-8") == "utf-8":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise BadRequestError("The content of a file is not base64") from error


def _list_of_objects(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = body.get(key)
    if not isinstance(items, list) or len(items) > MAX_FILES or not all(isinstance(item, dict) for item in items):
        raise BadRequestError(f"{key} must be a list of at most {MAX_FILES} objects")
    return items


def _large_object(item: dict[str, Any]) -> LargeObject:
    sha256, size = text_of(item, "oid"), item.get("size")
    if not is_sha256(sha256) or not isinstance(size, int) or not 0 <= size <= MAX_LARGE_BYTES:
        raise BadRequestError("An object has a SHA-256 and a size in bytes")
    return LargeObject(sha256, size)


def _signature(request: Request, large: LargeObject, expires: int) -> str:
    message = f"{large.sha256} {large.size} {expires}".encode()
    return hmac.new(request.app.state.upload_key, message, hashlib.sha256).hexdigest()
