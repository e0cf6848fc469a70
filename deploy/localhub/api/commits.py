"""The route that commits: to a branch, to a pull request, or as a new pull request."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from deploy.localhub.api.access import require_owner, require_writer
from deploy.localhub.api.answers import flag_of
from deploy.localhub.api.request import (
    MAX_COMMIT_BYTES,
    Caller,
    Hub,
    Repo,
    bounded_body,
    endpoint_of,
    path_value,
    text_of,
)
from deploy.localhub.commits import Changes, CommitText
from deploy.localhub.content import Snapshot
from deploy.localhub.errors import BadRequestError, RevisionNotFoundError, TooLargeError
from deploy.localhub.hub import CommitResult, LocalHub
from deploy.localhub.names import is_sha256, pull_request_number
from deploy.localhub.objects import LargeObject
from deploy.localhub.registry import RepoSettings
from deploy.localhub.storage import Storage
from deploy.localhub.tokens import Visitor

router = APIRouter()
MAX_FILES = 10_000
_SPOOL_BYTES = 4 * 1024 * 1024


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
    parts = _Body(hub.storage, author, hub.storage.snapshot(repo.name, revision))
    parts.read(body)
    header = parts.header
    text = CommitText(text_of(header, "summary"), author, text_of(header, "description", default=""))
    parent = text_of(header, "parentCommit", default="") or None
    if create_pr:
        return hub.commit_as_pull_request(repo.name, parts.changes, text, parent or revision)
    return hub.commit_changes(repo.name, parts.changes, text, revision=revision, parent=parent)


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


@dataclass
class _Body:
    """The parts of a commit as they come in, and whose they are. `target` is what the commit goes on top of."""

    storage: Storage
    author: str
    target: Snapshot
    header: dict[str, Any] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def read(self, body: BinaryIO) -> None:
        """Take in all lines.

        Raises:
            BadRequestError: one of them is not a part of a commit.
        """
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
            self._add(key, value)

    def _add(self, key: str, value: dict[str, Any]) -> None:
        if key == "header":
            self.header = value
            return
        path = text_of(value, "path")
        if key == "file":
            self.changes.add(path, _content(value), self.storage.objects)
        elif key == "lfsFile":
            self.changes.add_large(path, self._uploaded(path, text_of(value, "oid")))
        elif key == "deletedFile":
            self.changes.removed_files.append(path)
        elif key == "deletedFolder":
            self.changes.removed_folders.append(path)
        else:
            raise BadRequestError(f"Unknown part of a commit: {key!r}"[:200])

    def _uploaded(self, path: str, sha256: str) -> LargeObject:
        known = is_sha256(sha256) and self.storage.objects.has(sha256)
        if not known or not self.storage.holdings.may_commit(self.author, sha256, self.target):
            raise BadRequestError(f"The content of {path[:200]} was not uploaded")
        return LargeObject(sha256, self.storage.objects.path(sha256).stat().st_size)


def _content(value: dict[str, Any]) -> bytes:
    content = text_of(value, "content")
    if value.get("encoding", "utf-8") == "utf-8":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise BadRequestError("The content of a file is not base64") from error
