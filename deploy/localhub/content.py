"""What a repo holds at a revision: resolving revisions, listing files, reading them.

Listings and parsed files are cached by commit or blob id, which never change their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from deploy.localhub.errors import EntryNotFoundError, RevisionNotFoundError
from deploy.localhub.git import GitRepo
from deploy.localhub.names import check_path, is_commit, ref_of
from deploy.localhub.objects import MAX_POINTER_BYTES, LargeObject, ObjectStore, parse_pointer

DEFAULT_REVISION = "main"


@dataclass(frozen=True)
class Entry:
    """A file or folder at a revision. `size` is that of the content in bytes, also for a large file."""

    path: str
    oid: str
    size: int
    is_folder: bool
    large: LargeObject | None = None

    @property
    def etag(self) -> str:
        """What names the content: the SHA-256 of a large file, git's id of any other."""
        return self.large.sha256 if self.large else self.oid


def resolve_commit(git: GitRepo, revision: str) -> str:
    """The commit that a branch, tag, `refs/pr/N` or (shortened) commit id stands for.

    Raises:
        RevisionNotFoundError: nothing goes by that name.
    """
    if commit := git.read_ref(ref_of(revision)):
        return commit
    if is_commit(revision) and (commit := _known_commit(git.path, revision)):
        return commit
    if not revision.startswith("refs/") and git.read_ref(f"refs/tags/{revision}"):
        commit = git.find_commit(f"refs/tags/{revision}")  # an annotated tag points to a tag object first
        if commit:
            return commit
    raise RevisionNotFoundError(revision)


def _known_commit(path: Path, text: str) -> str | None:
    if len(text) < 40:
        return GitRepo(path).find_commit(text)
    try:
        return _existing_commit(path, text)
    except KeyError:
        return None


@lru_cache(maxsize=4096)
def _existing_commit(path: Path, commit: str) -> str:
    # Raises where there is none: only what exists may be remembered, the other may come to be.
    found = GitRepo(path).find_commit(commit)
    if found is None:
        raise KeyError(commit)
    return found


class Snapshot:
    """One repo at one commit."""

    def __init__(self, git: GitRepo, objects: ObjectStore, commit: str):
        self.git = git
        self.commit = commit
        self._objects = objects

    def at(self, commit: str) -> Snapshot:
        """The same repo at another of its commits."""
        return Snapshot(self.git, self._objects, commit)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every file and folder, in git's order."""
        return tuple(_listing(self.git.path, self.commit).values())

    @property
    def committed_at(self) -> datetime:
        """When the commit was made."""
        return _commit_time(self.git.path, self.commit)

    @property
    def files(self) -> list[Entry]:
        """The files alone."""
        return [entry for entry in self.entries if not entry.is_folder]

    def entry(self, path: str) -> Entry:
        """One file or folder.

        Raises:
            EntryNotFoundError: it is not there.
        """
        found = _listing(self.git.path, self.commit).get(check_path(path))
        if found is None:
            raise EntryNotFoundError(path, self.commit)
        return found

    def find_file(self, path: str) -> Entry | None:
        """One file; None if there is none of that name."""
        found = _listing(self.git.path, self.commit).get(path)
        return None if found is None or found.is_folder else found

    def children(self, folder: str, *, recursive: bool) -> list[Entry]:
        """What is in a folder ("" for the top).

        Raises:
            EntryNotFoundError: no such folder.
        """
        if folder and not self.entry(folder).is_folder:
            raise EntryNotFoundError(folder, self.commit)
        prefix = f"{folder}/" if folder else ""
        inside = [entry for entry in self.entries if entry.path.startswith(prefix) and entry.path != folder]
        return inside if recursive else [entry for entry in inside if "/" not in entry.path[len(prefix) :]]

    def large_path(self, entry: Entry) -> Path | None:
        """Where a large file's content lies; None for a file that git holds.

        Raises:
            EntryNotFoundError: the pointer is in git and the content never arrived.
        """
        if entry.large is None:
            return None
        path = self._objects.path(entry.large.sha256)
        if not path.is_file():
            raise EntryNotFoundError(entry.path, self.commit)
        return path

    def read(self, path: str) -> bytes:
        """A file's content, large or not.

        Raises:
            EntryNotFoundError: it is not there, or is a folder.
        """
        entry = self.entry(path)
        if entry.is_folder:
            raise EntryNotFoundError(path, self.commit)
        large = self.large_path(entry)
        return large.read_bytes() if large else self.git.blobs([entry.oid])[entry.oid]


@lru_cache(maxsize=2048)
def _listing(path: Path, commit: str) -> dict[str, Entry]:
    git = GitRepo(path)
    listing = git.listing(commit)
    small = [entry.oid for entry in listing if not entry.is_folder and 0 < entry.size <= MAX_POINTER_BYTES]
    pointers = {oid: parse_pointer(content) for oid, content in git.blobs(small).items()}
    found = {}
    for entry in listing:
        large = pointers.get(entry.oid)
        size = large.size if large else entry.size
        found[entry.path] = Entry(entry.path, entry.oid, size, entry.is_folder, large)
    return found


@lru_cache(maxsize=8192)
def _commit_time(path: Path, commit: str) -> datetime:
    return GitRepo(path).log(commit, skip=0, limit=1)[0].date


def forget_cached() -> None:
    """Forget what was read, after a repo was deleted: a new one of its name has other commits."""
    for cache in (_listing, _commit_time, _existing_commit):
        cache.cache_clear()
