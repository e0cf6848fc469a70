"""The folder: its parts, and reading from them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from deploy.localhub.cards import parse_card
from deploy.localhub.content import DEFAULT_REVISION, Snapshot, resolve_commit
from deploy.localhub.database import Database
from deploy.localhub.discussions import Discussions
from deploy.localhub.git import GitRepo
from deploy.localhub.holdings import Holdings
from deploy.localhub.names import RepoName
from deploy.localhub.oauth.applications import Applications
from deploy.localhub.oauth.members import Members
from deploy.localhub.oauth.provider import SigningKey
from deploy.localhub.objects import ObjectStore
from deploy.localhub.registry import Registry
from deploy.localhub.tokens import TokenFile
from deploy.localhub.verification import TrustedKeys


class Storage:
    """Everything that a Hub in a folder consists of.

    Layout: `repos/{models,datasets}/NAMESPACE/NAME.git` (bare git), `objects/` (large files by SHA-256),
    `hub.sqlite3` (settings and discussions), `oauth_key.pem` (signs who signed in), and for the operator to edit
    `tokens.json`, `webhooks.json`, `trusted_keys.json`, `oauth_applications.json` and `members.json`.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        database = Database(self.folder / "hub.sqlite3")
        self.registry = Registry(self.folder, database)
        self.discussions = Discussions(database)
        self.holdings = Holdings(database)
        self.objects = ObjectStore(self.folder / "objects")
        self.tokens = TokenFile(self.folder / "tokens.json")
        self.trusted_keys = TrustedKeys(self.folder / "trusted_keys.json")
        self.applications = Applications(self.folder / "oauth_applications.json")
        self.members = Members(self.folder / "members.json")
        self.oauth_key = SigningKey(self.folder / "oauth_key.pem")

    def git(self, repo: RepoName) -> GitRepo:
        """The git of an existing repo."""
        return self.registry.git(repo)

    def snapshot(self, repo: RepoName, revision: str = DEFAULT_REVISION) -> Snapshot:
        """An existing repo at a revision.

        Raises:
            RevisionNotFoundError: it has no such revision.
        """
        git = self.git(repo)
        return Snapshot(git, self.objects, resolve_commit(git, revision))


def card_of(snapshot: Snapshot) -> dict[str, Any]:
    """The metadata at the head of a snapshot's README; empty if there is none."""
    readme = snapshot.find_file("README.md")
    return _card(snapshot.git.path, readme.oid) if readme and readme.large is None else {}


@lru_cache(maxsize=2048)
def _card(path: Path, oid: str) -> dict[str, Any]:
    return parse_card(GitRepo(path).blobs([oid])[oid])
