"""Which repos there are, and their settings: private, gated, official benchmark, and who was let in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from deploy.localhub.database import Database
from deploy.localhub.errors import BadRequestError, ConflictError, RepoNotFoundError
from deploy.localhub.git import GitRepo
from deploy.localhub.names import RepoName, RepoType

GATED = ("auto", "manual")


@dataclass(frozen=True)
class RepoSettings:
    """What is known of a repo besides its content."""

    name: RepoName
    private: bool
    gated: str | None
    is_benchmark: bool
    created_at: datetime


class Registry:
    """The repos of the folder; their git lies under `repos/models` and `repos/datasets`."""

    def __init__(self, folder: Path, database: Database):
        self._folder = folder / "repos"
        self._database = database

    def git(self, repo: RepoName) -> GitRepo:
        """The repo's git, without looking whether it is there."""
        namespace, _, name = repo.id.partition("/")
        return GitRepo(self._folder / f"{repo.type}s" / namespace / f"{name}.git")

    def find(self, repo: RepoName) -> RepoSettings:
        """The settings of a repo; names are found without regard to case, as on huggingface.co.

        Raises:
            RepoNotFoundError: there is none.
        """
        rows = self._database.read("SELECT * FROM repos WHERE type = ? AND id = ?", repo.type.value, repo.id)
        if not rows:
            raise RepoNotFoundError(repo.id)
        return _settings(rows[0])

    def all(self, repo_type: RepoType) -> list[RepoSettings]:
        """Every repo of a type, the newest first."""
        query = "SELECT * FROM repos WHERE type = ? ORDER BY created_at DESC, id"
        return [_settings(row) for row in self._database.read(query, repo_type.value)]

    def create(self, repo: RepoName, first_commit: Callable[[GitRepo], None], *, private: bool) -> RepoSettings:
        """Make a repo; nobody sees it before `first_commit` has given it a main branch.

        Raises:
            ConflictError: it exists.
        """
        created_at = datetime.now(UTC)
        with self._database.transaction() as connection:
            try:
                connection.execute(
                    "INSERT INTO repos (type, id, private, created_at) VALUES (?, ?, ?, ?)",
                    (repo.type.value, repo.id, private, created_at.isoformat()),
                )
            except sqlite3.IntegrityError as error:
                raise ConflictError(f"You already created this {repo.type} repo") from error
            connection.execute("DELETE FROM moves WHERE type = ? AND id = ?", (repo.type.value, repo.id))
            first_commit(GitRepo.create(self.git(repo).path))
        return RepoSettings(repo, private, gated=None, is_benchmark=False, created_at=created_at)

    def delete(self, repo: RepoName) -> None:
        """Remove a repo with its discussions and grants. Large objects stay: other repos may hold them too."""
        path = self.git(repo).path
        # Moved away first, so that a reader sees the repo whole or not at all, and a new one may take its name.
        grave = path.with_name(f".deleted-{uuid4().hex}")
        with self._database.transaction() as connection:
            for table in ("repos", "grants", "discussions", "events"):
                connection.execute(f"DELETE FROM {table} WHERE type = ? AND id = ?", (repo.type.value, repo.id))  # noqa: S608 - names of the line above
            path.rename(grave)
        shutil.rmtree(grave)

    def move(self, repo: RepoName, to: RepoName) -> None:
        """Give a repo another id. The one that it had leads there, until another repo takes it.

        Raises:
            ConflictError: there is a repo of that id.
        """
        path, new_path = self.git(repo).path, self.git(to).path
        with self._database.transaction() as connection:
            try:
                for table in ("repos", "grants", "discussions", "events"):
                    connection.execute(
                        f"UPDATE {table} SET id = ? WHERE type = ? AND id = ?",  # noqa: S608 - names of the line above
                        (to.id, repo.type.value, repo.id),
                    )
            except sqlite3.IntegrityError as error:
                raise ConflictError(f"There is a {to.label} already") from error
            kind = repo.type.value
            connection.execute("UPDATE moves SET now_at = ? WHERE type = ? AND now_at = ?", (to.id, kind, repo.id))
            connection.execute("DELETE FROM moves WHERE type = ? AND id = ?", (kind, to.id))
            if repo.id.lower() != to.id.lower():
                connection.execute("INSERT OR REPLACE INTO moves VALUES (?, ?, ?)", (kind, repo.id, to.id))
            new_path.parent.mkdir(parents=True, exist_ok=True)
            path.rename(new_path)

    def moved(self, repo: RepoName) -> RepoSettings | None:
        """The settings of a repo that had this id once; None where there is none, or another repo has taken the id."""
        query = "SELECT repos.* FROM moves JOIN repos ON repos.type = moves.type AND repos.id = moves.now_at"
        rows = self._database.read(f"{query} WHERE moves.type = ? AND moves.id = ?", repo.type.value, repo.id)
        return _settings(rows[0]) if rows else None

    def set_private(self, repo: RepoName, private: bool) -> None:
        """Show the repo to everybody, or to its owners only."""
        self._set(repo, "private", private)

    def set_gated(self, repo: RepoName, gated: str | None) -> None:
        """Gate the files ("auto" or "manual"), or open them (None)."""
        if gated is not None and gated not in GATED:
            raise BadRequestError(f"gated is one of {', '.join(GATED)} or nothing, not {gated!r}")
        self._set(repo, "gated", gated)

    def set_benchmark(self, repo: RepoName, is_benchmark: bool) -> None:
        """Mark a dataset as an official benchmark, which gives it a leaderboard."""
        self._set(repo, "benchmark", is_benchmark)

    def _set(self, repo: RepoName, column: str, value: bool | str | None) -> None:
        self.find(repo)
        with self._database.transaction() as connection:
            statement = f"UPDATE repos SET {column} = ? WHERE type = ? AND id = ?"  # noqa: S608 - column is ours
            connection.execute(statement, (value, repo.type.value, repo.id))

    def grant(self, repo: RepoName, user: str) -> None:
        """Let a user read the files of a gated repo. Once more changes nothing."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO grants (type, id, user, granted_at) VALUES (?, ?, ?, ?)",
                (repo.type.value, repo.id, user, datetime.now(UTC).isoformat()),
            )

    def is_granted(self, repo: RepoName, user: str) -> bool:
        """Whether the user was let in."""
        query = "SELECT 1 FROM grants WHERE type = ? AND id = ? AND user = ?"
        return bool(self._database.read(query, repo.type.value, repo.id, user))


def _settings(row: sqlite3.Row) -> RepoSettings:
    return RepoSettings(
        name=RepoName(RepoType(row["type"]), row["id"]),
        private=bool(row["private"]),
        gated=row["gated"],
        is_benchmark=bool(row["benchmark"]),
        created_at=datetime.fromisoformat(row["created_at"]),
    )
