"""`LocalHub`: everything that can be done to a Hub in a folder, by the HTTP server, the command line or a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.localhub import announcements
from deploy.localhub.commits import Changes, Committer, CommitText, Written
from deploy.localhub.content import DEFAULT_REVISION, forget_cached, resolve_commit
from deploy.localhub.discussions import ENDED, MAX_TITLE_CHARS, Discussion, Event
from deploy.localhub.errors import BadRequestError, ConflictError, RepoNotFoundError, RevisionNotFoundError
from deploy.localhub.git import GitRepo
from deploy.localhub.names import RepoName, RepoType, pull_request_number, ref_of
from deploy.localhub.objects import git_attributes
from deploy.localhub.registry import RepoSettings
from deploy.localhub.storage import Storage
from deploy.localhub.tokens import Role
from deploy.localhub.webhooks import Webhook, WebhookSender

SYSTEM = "system"
"""The author of what nobody in particular did."""


@dataclass(frozen=True)
class CommitResult:
    """The commit at the head now, and the pull request that it is part of, if it is."""

    oid: str
    pull_request: int | None = None


class LocalHub:
    """A Hub in a folder. The folder is made if it is not there; several processes may use it at once.

    `endpoint` is the URL under which a server offers it; it stands in webhook payloads only.
    """

    def __init__(self, folder: Path | str, endpoint: str = "http://localhost"):
        self.storage = Storage(Path(folder))
        self.webhooks = WebhookSender(self.storage.folder / "webhooks.json")
        self.endpoint = endpoint

    def create_repo(self, repo: RepoName, *, private: bool = False) -> RepoSettings:
        """Make a repo with an initial commit on `main`.

        Raises:
            ConflictError: it exists.
        """
        changes = Changes(blobs={".gitattributes": git_attributes()})
        text = CommitText("initial commit", SYSTEM)

        def first_commit(git: GitRepo) -> None:
            Committer(git, self.storage.objects).commit(f"refs/heads/{DEFAULT_REVISION}", changes, text)

        settings = self.storage.registry.create(repo, first_commit, private=private)
        self._announce_repo(repo, "create")
        return settings

    def has_repo(self, repo: RepoName) -> bool:
        """Whether there is such a repo."""
        try:
            self.storage.registry.find(repo)
        except RepoNotFoundError:
            return False
        return True

    def delete_repo(self, repo: RepoName) -> None:
        """Remove a repo for good.

        Raises:
            RepoNotFoundError: there is none.
        """
        repo = self.storage.registry.find(repo).name
        payload = announcements.repo_event(self.storage, repo, self.endpoint, "delete")
        self.storage.registry.delete(repo)
        forget_cached()
        self.webhooks.announce(repo, "repo", payload)

    def move_repo(self, repo: RepoName, to: RepoName) -> None:
        """Rename a repo, or hand it over. Requests for the id that it had are redirected.

        Raises:
            RepoNotFoundError: there is none.
            ConflictError: there is one of the new id.
        """
        repo = self.storage.registry.find(repo).name
        payload = announcements.repo_event(self.storage, repo, self.endpoint, "move")
        self.storage.registry.move(repo, to)
        forget_cached()
        self.webhooks.announce(repo, "repo", payload | {"movedTo": {"name": to.id, "owner": {"id": to.namespace}}})

    def set_private(self, repo: RepoName, private: bool) -> None:
        """Show the repo to everybody, or to its owners only."""
        self.storage.registry.set_private(repo, private)
        self._announce_repo(repo, "update")

    def set_gated(self, repo: RepoName, gated: str | None) -> None:
        """Gate the repo's files ("auto", "manual"), or open them (None)."""
        self.storage.registry.set_gated(repo, gated)
        self._announce_repo(repo, "update")

    def mark_benchmark(self, repo: RepoName, official: bool = True) -> None:
        """Make a dataset an official benchmark: `benchmark:official` finds it, and it has a leaderboard."""
        if repo.type is not RepoType.DATASET:
            raise BadRequestError("Only a dataset can be a benchmark")
        self.storage.registry.set_benchmark(repo, official)

    def grant(self, repo: RepoName, user: str) -> None:
        """Let a user read the files of a gated repo."""
        self.storage.registry.grant(self.storage.registry.find(repo).name, user)

    def add_token(self, user: str, role: Role = "write", orgs: tuple[str, ...] = ()) -> str:
        """Make an access token and return it; it cannot be shown again."""
        return self.storage.tokens.add(user, role, orgs)

    def add_webhook(self, webhook: Webhook) -> None:
        """Tell a URL of changes from now on."""
        self.webhooks.add(webhook)

    def trust_keys(self, jwks: dict[str, Any]) -> None:
        """Mark as verified what these public keys (a JWK set) sign, and nothing else."""
        self.storage.trusted_keys.replace(jwks)

    def read_file(self, repo: RepoName, path: str, revision: str = DEFAULT_REVISION) -> bytes:
        """A file's content.

        Raises:
            RepoNotFoundError, RevisionNotFoundError, EntryNotFoundError: what is missing.
        """
        return self.storage.snapshot(self.storage.registry.find(repo).name, revision).read(path)

    def commit(
        self,
        repo: RepoName,
        files: Mapping[str, bytes | Path],
        text: CommitText,
        *,
        revision: str = DEFAULT_REVISION,
        create_pr: bool = False,
    ) -> CommitResult:
        """Write files (path in the repo to content, or to a local file with the content) in one commit.

        Writing what is there already makes no commit.

        Raises:
            RepoNotFoundError, RevisionNotFoundError: where to write is not there.
        """
        repo = self.storage.registry.find(repo).name
        changes = Changes()
        for path, content in files.items():
            changes.add(path, content, self.storage.objects)
        if create_pr:
            return self.commit_as_pull_request(repo, changes, text, revision)
        return self.commit_changes(repo, changes, text, revision=revision)

    def commit_changes(
        self, repo: RepoName, changes: Changes, text: CommitText, *, revision: str, parent: str | None = None
    ) -> CommitResult:
        """Commit to a branch or to the pull request `refs/pr/N`.

        Raises:
            StaleParentError: `parent` is given and no longer the head.
            ConflictError: the pull request is closed or merged.
        """
        number = pull_request_number(revision)
        ref = ref_of(revision)
        if self.storage.git(repo).read_ref(ref) is None:
            raise RevisionNotFoundError(revision)
        discussion = self.storage.discussions.find(repo, number) if number else None
        if discussion and discussion.status in ENDED:
            raise ConflictError(f"Pull request {number} is {discussion.status}")
        written = self._committer(repo).commit(ref, changes, text, parent)
        if written.new != written.old:
            if discussion:
                self.storage.discussions.record_commit(discussion, text.author, text.title, written.new)
            self.announce_content(repo, written)
        return CommitResult(written.new, number)

    def commit_as_pull_request(
        self, repo: RepoName, changes: Changes, text: CommitText, revision: str = DEFAULT_REVISION
    ) -> CommitResult:
        """Open a pull request with one commit on top of a revision.

        Raises:
            BadRequestError: nothing would change.
        """
        git = self.storage.git(repo)
        base = resolve_commit(git, revision)
        oid = self._committer(repo).build(base, changes, text)
        if oid == base:
            raise BadRequestError("The pull request would change nothing")
        discussion = self.storage.discussions.open(
            repo, _fit_title(text.title), text.author, make_ref=lambda ref: git.move_ref(ref, oid, None)
        )
        if text.description.strip():
            self.storage.discussions.comment(discussion, text.author, text.description)
        self.storage.discussions.record_commit(discussion, text.author, text.title, oid)
        self.announce_discussion(discussion, "create")
        self.announce_content(repo, Written(discussion.ref, None, oid))
        return CommitResult(oid, discussion.num)

    def open_discussion(
        self, repo: RepoName, title: str, description: str, author: str, *, pull_request: bool = False
    ) -> Discussion:
        """Open a discussion, or a pull request that has no commits yet and stays a draft until it is opened."""
        git = self.storage.git(repo)

        def make_ref(ref: str) -> None:
            git.move_ref(ref, resolve_commit(git, DEFAULT_REVISION), None)

        discussion = self.storage.discussions.open(
            repo, title, author, make_ref=make_ref if pull_request else None, draft=pull_request
        )
        if description.strip():
            self.storage.discussions.comment(discussion, author, description)
        self.announce_discussion(discussion, "create")
        return discussion

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Send the webhooks that wait, for so long at most."""
        self.webhooks.close(timeout_seconds)

    def announce_discussion(self, discussion: Discussion, action: str, comment: Event | None = None) -> None:
        """Send webhooks about a discussion as it now stands: `create` or `update`."""
        current = self.storage.discussions.find(discussion.repo, discussion.num)
        payload = announcements.discussion_event(self.storage, current, self.endpoint, action, comment)
        self.webhooks.announce(discussion.repo, "discussion", payload)

    def announce_content(self, repo: RepoName, written: Written) -> None:
        """Send webhooks about a ref that has moved."""
        payload = announcements.content_event(self.storage, repo, self.endpoint, written)
        self.webhooks.announce(repo, "repo", payload)

    def _announce_repo(self, repo: RepoName, action: str) -> None:
        payload = announcements.repo_event(self.storage, repo, self.endpoint, action)
        self.webhooks.announce(repo, "repo", payload)

    def _committer(self, repo: RepoName) -> Committer:
        return Committer(self.storage.git(repo), self.storage.objects)


def _fit_title(title: str) -> str:
    # The bounds of a discussion's title; a commit's message may be shorter or longer.
    title = " ".join(title.split())[:MAX_TITLE_CHARS]
    return title if len(title) >= 3 else f"Update: {title}"
