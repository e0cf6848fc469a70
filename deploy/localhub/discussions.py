"""Discussions and pull requests: who said what, and what became of them.

The commits of pull request N are git's, under `refs/pr/N`; here is everything else.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from deploy.localhub.database import Database
from deploy.localhub.errors import BadRequestError, ConflictError, NotFoundError
from deploy.localhub.names import RepoName, RepoType

MAX_TITLE_CHARS = 200
MAX_COMMENT_CHARS = 65_536


class Status(StrEnum):
    """What became of a discussion; only pull requests are ever drafts or merged."""

    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


ENDED = (Status.CLOSED, Status.MERGED)


class EventKind(StrEnum):
    """What can happen to a discussion."""

    COMMENT = "comment"
    STATUS_CHANGE = "status-change"
    TITLE_CHANGE = "title-change"
    COMMIT = "commit"


@dataclass(frozen=True)
class Discussion:
    """A discussion or pull request as it stands."""

    repo: RepoName
    num: int
    title: str
    author: str
    status: Status
    is_pull_request: bool
    created_at: datetime
    merge_commit: str | None

    @property
    def ref(self) -> str:
        """Where a pull request's commits are."""
        return f"refs/pr/{self.num}"


@dataclass(frozen=True)
class Event:
    """One thing that happened to a discussion. `data` depends on the kind."""

    event_id: str
    kind: EventKind
    author: str
    created_at: datetime
    data: dict[str, Any]


class Discussions:
    """The discussions of all repos of the folder."""

    def __init__(self, database: Database):
        self._database = database

    def open(
        self,
        repo: RepoName,
        title: str,
        author: str,
        *,
        make_ref: Callable[[str], None] | None = None,
        draft: bool = False,
    ) -> Discussion:
        """Open a discussion, or with `make_ref` a pull request, under the repo's next number.

        `make_ref` is given the ref's name and makes it; nobody sees the pull request before that is done.

        Raises:
            BadRequestError: the title is too short or too long.
        """
        title = _title(title)
        status = Status.DRAFT if draft else Status.OPEN
        created_at = datetime.now(UTC)
        with self._database.transaction() as connection:
            (last,) = connection.execute(
                "SELECT COALESCE(MAX(num), 0) FROM discussions WHERE type = ? AND id = ?", (repo.type.value, repo.id)
            ).fetchone()
            opened = Discussion(repo, last + 1, title, author, status, make_ref is not None, created_at, None)
            connection.execute(
                "INSERT INTO discussions (type, id, num, title, author, status, is_pull_request, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    repo.type.value,
                    repo.id,
                    opened.num,
                    title,
                    author,
                    status.value,
                    opened.is_pull_request,
                    created_at.isoformat(),
                ),
            )
            if make_ref is not None:
                make_ref(opened.ref)
        return opened

    def find(self, repo: RepoName, num: int) -> Discussion:
        """One discussion.

        Raises:
            NotFoundError: there is none of that number.
        """
        query = "SELECT * FROM discussions WHERE type = ? AND id = ? AND num = ?"
        rows = self._database.read(query, repo.type.value, repo.id, num)
        if not rows:
            raise NotFoundError(f"Discussion not found: {num}")
        return _discussion(repo, rows[0])

    def of_repo(self, repo: RepoName) -> list[Discussion]:
        """All discussions of a repo, the newest first."""
        query = "SELECT * FROM discussions WHERE type = ? AND id = ? ORDER BY num DESC"
        return [_discussion(repo, row) for row in self._database.read(query, repo.type.value, repo.id)]

    def open_pull_requests(self) -> dict[RepoName, list[int]]:
        """The numbers of the open pull requests (not drafts) of every repo that has some, ascending."""
        query = "SELECT type, id, num FROM discussions WHERE is_pull_request AND status = 'open' ORDER BY num"
        found: dict[RepoName, list[int]] = {}
        for row in self._database.read(query):
            found.setdefault(RepoName(RepoType(row["type"]), row["id"]), []).append(row["num"])
        return found

    def events(self, discussion: Discussion) -> list[Event]:
        """What happened to a discussion, the oldest first."""
        query = "SELECT * FROM events WHERE type = ? AND id = ? AND num = ? ORDER BY seq"
        repo = discussion.repo
        return [_event(row) for row in self._database.read(query, repo.type.value, repo.id, discussion.num)]

    def comment(self, discussion: Discussion, author: str, text: str) -> Event:
        """Say something.

        Raises:
            BadRequestError: nothing was said, or too much.
        """
        text = text.strip()
        if not text or len(text) > MAX_COMMENT_CHARS:
            raise BadRequestError(f"A comment has 1 to {MAX_COMMENT_CHARS} characters")
        with self._database.transaction() as connection:
            return _record(connection, discussion, EventKind.COMMENT, author, {"text": text})

    def record_commit(self, discussion: Discussion, author: str, title: str, oid: str) -> Event:
        """Note a commit on a pull request."""
        with self._database.transaction() as connection:
            return _record(connection, discussion, EventKind.COMMIT, author, {"subject": title, "oid": oid})

    def rename(self, discussion: Discussion, author: str, title: str) -> Event:
        """Give it another title."""
        title = _title(title)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE discussions SET title = ? WHERE type = ? AND id = ? AND num = ?",
                (title, discussion.repo.type.value, discussion.repo.id, discussion.num),
            )
            data = {"from": discussion.title, "to": title}
            return _record(connection, discussion, EventKind.TITLE_CHANGE, author, data)

    def set_status(self, discussion: Discussion, author: str, status: Status, merge_commit: str | None = None) -> Event:
        """Close, open again, or note the merge.

        Raises:
            ConflictError: it was merged, which is final, or is in that state already.
        """
        with self._database.transaction() as connection:
            done = connection.execute(
                "UPDATE discussions SET status = ?, merge_commit = ?"
                " WHERE type = ? AND id = ? AND num = ? AND status NOT IN ('merged', ?)",
                (
                    status.value,
                    merge_commit,
                    discussion.repo.type.value,
                    discussion.repo.id,
                    discussion.num,
                    status.value,
                ),
            )
            if done.rowcount == 0:
                raise ConflictError(
                    f"This cannot become {status}: it is {self.find(discussion.repo, discussion.num).status}"
                )
            return _record(connection, discussion, EventKind.STATUS_CHANGE, author, {"status": status.value})

    def edit_comment(self, discussion: Discussion, event_id: str, author: str, text: str | None) -> Event:
        """Replace a comment's text, or hide it for good (None). Only its author may.

        Raises:
            NotFoundError: no such comment by this author.
        """
        with self._database.transaction() as connection:
            for event in self.events(discussion):
                if event.event_id == event_id and event.kind is EventKind.COMMENT and event.author == author:
                    break
            else:
                raise NotFoundError(f"Comment not found: {event_id[:40]}")
            data: dict[str, Any] = {"text": "", "hidden": True} if text is None else {"text": text, "edited": True}
            statement = "UPDATE events SET data = ? WHERE event_id = ?"
            connection.execute(statement, (json.dumps(data), event_id))
        return Event(event.event_id, event.kind, event.author, event.created_at, data)


def _title(title: str) -> str:
    title = " ".join(title.split())
    if not 3 <= len(title) <= MAX_TITLE_CHARS:
        raise BadRequestError(f"A title has 3 to {MAX_TITLE_CHARS} characters")
    return title


def _record(
    connection: sqlite3.Connection, discussion: Discussion, kind: EventKind, author: str, data: dict[str, Any]
) -> Event:
    event = Event(secrets.token_hex(12), kind, author, datetime.now(UTC), data)
    repo = discussion.repo
    connection.execute(
        "INSERT INTO events (event_id, type, id, num, kind, author, created_at, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.event_id,
            repo.type.value,
            repo.id,
            discussion.num,
            kind.value,
            author,
            event.created_at.isoformat(),
            json.dumps(data),
        ),
    )
    return event


def _discussion(repo: RepoName, row: sqlite3.Row) -> Discussion:
    return Discussion(
        repo=repo,
        num=row["num"],
        title=row["title"],
        author=row["author"],
        status=Status(row["status"]),
        is_pull_request=bool(row["is_pull_request"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        merge_commit=row["merge_commit"],
    )


def _event(row: sqlite3.Row) -> Event:
    return Event(
        event_id=row["event_id"],
        kind=EventKind(row["kind"]),
        author=row["author"],
        created_at=datetime.fromisoformat(row["created_at"]),
        data=json.loads(row["data"]),
    )
