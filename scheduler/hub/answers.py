"""What the Hub says of repos, commits and files, as the control plane holds it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

RepoType = Literal["model", "dataset"]

_HASH = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class BenchmarkHead:
    """A benchmark as a listing names it."""

    dataset_id: str
    revision: str
    gated: bool


@dataclass(frozen=True)
class OwnCommits:
    """What the owner of a dataset has made the dataset's.

    Anybody can have a commit stored with a dataset, by a pull request, and the Hub hands that out by its hash as well.
    """

    named: dict[str, str]
    """Heads of branches and tags, by their names."""

    main: tuple[str, ...]
    """Of the main branch, newest first."""

    def find(self, revision: str) -> str | None:
        """The commit that a name, or a hash that may be shortened, stands for; None where it is none of these."""
        if revision in self.named:
            return self.named[revision]
        commits = (*self.main, *self.named.values()) if _HASH.fullmatch(revision) else ()
        return next((commit for commit in commits if commit.startswith(revision)), None)


@dataclass(frozen=True)
class ModelHead:
    """A model repo's main branch."""

    revision: str
    gated: bool
    counts: dict[str, int] = field(default_factory=dict)
    """Numbers in its safetensors files by dtype, as the Hub counted; empty where it did not."""

    private: bool = False
    """Shown to the farm by its token, and not to everybody."""


@dataclass(frozen=True)
class TreeFile:
    """A file of a repo at one commit."""

    path: str
    blob_id: str
    """Git's; changes with the content."""

    size_bytes: int


@dataclass(frozen=True)
class PullRequestHead:
    """An open pull request of a model repo."""

    number: int
    author: str
    commit: str

    @property
    def ref(self) -> str:
        """The git ref that the Hub keeps it under."""
        return f"refs/pr/{self.number}"


@dataclass(frozen=True)
class HubFile:
    """A file of a repo at a commit or a ref."""

    repo_type: RepoType
    repo_id: str
    revision: str
    path: str


@dataclass(frozen=True)
class Leaderboard:
    """The answer to a look at a leaderboard."""

    rows: object | None
    """None where nothing changed since `etag`."""

    etag: str | None
