"""Routes of the Xet protocol, as far as uploads need them.

The API: https://huggingface.co/docs/xet/api
Each upload session has an address of its own, so that a client never counts on xorbs of another session being here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shutil
import time
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from deploy.localhub.api.access import require_writer
from deploy.localhub.api.request import Caller, Hub, bounded_body, endpoint_of, the_hub, visible_repo
from deploy.localhub.errors import NotFoundError, UnauthorizedError
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import is_sha256
from deploy.localhub.xet import MAX_SHARD_BYTES, MAX_XORB_BYTES, assemble, parse_shard

router = APIRouter()
SESSION_SECONDS = 24 * 3600


@router.get("/api/{kind}/{namespace}/{name}/xet-write-token/{revision}", dependencies=[Depends(visible_repo)])
def write_token(request: Request, hub: Hub, caller: Caller) -> Response:
    """Where to send xorbs and shards, and a token for it."""
    user = require_writer(caller)
    _forget_old_sessions(hub)
    session = secrets.token_hex(16)
    expires = int(time.time()) + SESSION_SECONDS
    token = f"{expires}.{_signature(request, user, expires)}.{user}"
    address = f"{endpoint_of(request)}/xet/{session}"
    headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
    return JSONResponse({"casUrl": address, "accessToken": token, "exp": expires}, headers=headers)


@router.post("/xet/{session}/v1/xorbs/default/{xorb}")
async def upload_xorb(request: Request, session: str, xorb: str) -> dict[str, bool]:
    """Take in packed chunks. What is in them is checked when files are assembled."""
    _user_of_token(request)
    path = _xorb_path(the_hub(request), session, xorb)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{xorb}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            await bounded_body(request, MAX_XORB_BYTES, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return {"was_inserted": True}


@router.post("/xet/{session}/v1/shards")
async def upload_shard(request: Request, session: str) -> dict[str, int]:
    """Put together the files of a shard."""
    user = _user_of_token(request)
    hub = the_hub(request)
    path = _session_folder(hub, session) / f"shard-{secrets.token_hex(8)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as file:
            await bounded_body(request, MAX_SHARD_BYTES, file)
        await run_in_threadpool(_assemble_all, hub, session, user, path)
    finally:
        path.unlink(missing_ok=True)
    return {"result": 1}


def _assemble_all(hub: LocalHub, session: str, user: str, shard: Path) -> None:
    for recipe in parse_shard(shard.read_bytes()):
        # Also what is here already: only who sent the content may commit it.
        assemble(recipe, lambda xorb: _xorb_path(hub, session, xorb), hub.storage.objects)
        hub.storage.holdings.record(user, recipe.sha256)


def _folder(hub: LocalHub) -> Path:
    return hub.storage.folder / "uploads"


def _session_folder(hub: LocalHub, session: str) -> Path:
    if len(session) != 32 or not is_sha256(session * 2):
        raise NotFoundError("No such upload session")
    return _folder(hub) / session


def _xorb_path(hub: LocalHub, session: str, xorb: str) -> Path:
    if not is_sha256(xorb):
        raise NotFoundError("Not the hash of a xorb")
    return _session_folder(hub, session) / xorb


def _user_of_token(request: Request) -> str:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    expires, signature, user = (*token.split(".", 2), "", "")[:3]
    known = _signature(request, user, int(expires) if expires.isascii() and expires.isdigit() else 0)
    if not hmac.compare_digest(signature.encode(), known.encode()) or int(expires) < time.time():
        raise UnauthorizedError("The upload token is not valid, or no longer")
    return user


def _signature(request: Request, user: str, expires: int) -> str:
    message = f"xet {user} {expires}".encode()
    return hmac.new(request.app.state.upload_key, message, hashlib.sha256).hexdigest()


def _forget_old_sessions(hub: LocalHub) -> None:
    for folder in _folder(hub).glob("*"):
        if folder.stat().st_mtime < time.time() - SESSION_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
