"""Routes by which files are sent ahead of a commit: how to send each, and large ones by Git LFS.

The Git LFS batch API: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md (basic transfers).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from deploy.localhub.api.access import require_writer
from deploy.localhub.api.request import Caller, Hub, JsonBody, Repo, endpoint_of, path_value, text_of
from deploy.localhub.errors import BadRequestError, ForbiddenError, TooLargeError
from deploy.localhub.names import check_path, is_sha256
from deploy.localhub.objects import LargeObject, is_large

router = APIRouter()
MAX_FILES = 10_000
MAX_LARGE_BYTES = 1024**4
UPLOAD_SECONDS = 6 * 3600


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


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch")
@router.post("/{kind}/{namespace}/{name}.git/info/lfs/objects/batch")
def lfs_batch(request: Request, hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Where to send each large object; one that the caller sent before, or the repo has, need not be sent."""
    user = require_writer(caller)
    if body.get("operation") != "upload":
        raise BadRequestError("Only uploads go this way; downloads use /resolve/")
    main = hub.storage.snapshot(repo.name)
    answers = []
    for item in _list_of_objects(body, "objects"):
        large = _large_object(item)
        answer: dict[str, Any] = {"oid": large.sha256, "size": large.size}
        known = hub.storage.objects.has(large.sha256) and hub.storage.holdings.may_commit(user, large.sha256, main)
        if not known:
            expires = int(time.time()) + UPLOAD_SECONDS
            signature = _signature(request, large, user, expires)
            query = urlencode({"size": large.size, "user": user, "expires": expires, "signature": signature})
            answer["actions"] = {"upload": {"href": f"{endpoint_of(request)}/lfs-upload/{large.sha256}?{query}"}}
        answers.append(answer)
    return {"transfer": "basic", "hash_algo": "sha256", "objects": answers}


class UploadGrant(BaseModel):
    """Leave to send one object: how large, by whom, until when (seconds since 1970), signed by this server."""

    size: int
    user: str
    expires: int
    signature: str


@router.put("/lfs-upload/{sha256}")
async def lfs_upload(request: Request, hub: Hub, sha256: str, grant: Annotated[UploadGrant, Query()]) -> dict[str, str]:
    """Take in one large object. The address is signed: clients send no token here."""
    known = _signature(request, LargeObject(sha256, grant.size), grant.user, grant.expires)
    if not hmac.compare_digest(grant.signature.encode(), known.encode()) or grant.expires < time.time():
        raise ForbiddenError("This upload address is not valid, or no longer")
    with hub.storage.objects.receive() as incoming:
        async for chunk in request.stream():
            incoming.write(chunk)
            if incoming.size > grant.size:
                raise TooLargeError(f"More than the {grant.size} bytes announced")
        await run_in_threadpool(incoming.keep, sha256)
    await run_in_threadpool(hub.storage.holdings.record, grant.user, sha256)
    return {"oid": sha256}


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


def _signature(request: Request, large: LargeObject, user: str, expires: int) -> str:
    message = f"lfs {large.sha256} {large.size} {user} {expires}".encode()
    return hmac.new(request.app.state.upload_key, message, hashlib.sha256).hexdigest()
