"""Who has shown to hold the content of a large object, by uploading it.

A commit names large objects by their SHA-256, which is no secret: the tree of a gated repo shows it to everybody.
Without this check anybody could commit a pointer to somebody else's file and download it from there.
"""

from __future__ import annotations

from deploy.localhub.content import Snapshot
from deploy.localhub.database import Database


class Holdings:
    """The uploads of each user."""

    def __init__(self, database: Database):
        self._database = database

    def record(self, user: str, sha256: str) -> None:
        """Note that a user has sent the whole content."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO holdings (user, sha256) VALUES (?, ?)", (user, sha256))

    def may_commit(self, user: str, sha256: str, target: Snapshot) -> bool:
        """Whether a user may put the object into a repo: they sent it, or the repo has it there already."""
        if self._database.read("SELECT 1 FROM holdings WHERE user = ? AND sha256 = ?", user, sha256):
            return True
        return any(entry.large is not None and entry.large.sha256 == sha256 for entry in target.files)
