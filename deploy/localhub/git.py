"""A bare git repository, read and written with libgit2: no process is started for what a request asks.

Refs are read from their files, which is a tenth of the price of opening a repository. Commits are immutable, so what is
read from one may be cached under its id for ever.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, FileMode, ObjectType, SortMode

MAX_DIFF_BYTES = 1_000_000

# Nothing of the machine's or the user's git configuration may act on these repos. Whose the folder is does not matter:
# git, too, asks nothing about that where it is told which repository to use.
for _level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
    pygit2.settings.search_path[_level] = ""
pygit2.settings.owner_validation = False
# What was answered with success is on the disk.
pygit2.settings.enable_fsync_gitdir(True)


class MovedError(RuntimeError):
    """A ref was not where the caller thought it was; nothing was changed."""


@dataclass(frozen=True)
class TreeEntry:
    """One file or folder of a commit. `size` is in bytes, 0 for folders; `oid` is git's."""

    path: str
    oid: str
    size: int
    is_folder: bool


@dataclass(frozen=True)
class CommitRecord:
    """One commit of a history."""

    oid: str
    author: str
    date: datetime
    title: str
    message: str


@dataclass(frozen=True)
class Signature:
    """What a new commit says about itself: its message, whose it is, and when (UTC)."""

    message: str
    author: str
    at: datetime

    @property
    def who(self) -> pygit2.Signature:
        """Who and when, as libgit2 takes it."""
        return pygit2.Signature(self.author, f"{self.author}@localhub", int(self.at.timestamp()), 0)


@dataclass(frozen=True)
class Merge:
    """The outcome of merging two commits: a tree, or None and the files that are in each other's way."""

    tree: str | None
    conflicts: tuple[str, ...]


class GitRepo:
    """One bare repository at `path`. Errors of libgit2 itself are `pygit2.GitError`."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: Path) -> GitRepo:
        """Make an empty bare repository whose default branch is `main`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pygit2.init_repository(path, bare=True, initial_head="main")
        return cls(path)

    def _open(self) -> pygit2.Repository:
        # One for each call: libgit2's are not for several threads at once.
        return pygit2.Repository(self.path)

    def refs(self) -> dict[str, str]:
        """Every ref with the commit (or annotated tag) it points to."""
        found: dict[str, str] = {}
        packed = self.path / "packed-refs"
        if packed.is_file():
            for line in packed.read_text().splitlines():
                if line and line[0] not in "#^":
                    oid, name = line.split(" ", 1)
                    found[name] = oid
        for file in sorted((self.path / "refs").rglob("*")):
            if file.is_file() and not file.name.endswith(".lock"):
                found[file.relative_to(self.path).as_posix()] = file.read_text().strip()
        return found

    def read_ref(self, ref: str) -> str | None:
        """The commit that a full, checked ref name points to; None if there is none."""
        try:
            return (self.path / ref).read_text().strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return self.refs().get(ref) if (self.path / "packed-refs").is_file() else None

    def find_commit(self, expression: str) -> str | None:
        """The full id of a commit given as a checked hexadecimal id or full ref; None if this repo lacks it."""
        try:
            return str(self._open().revparse_single(f"{expression}^{{commit}}").id)
        except (KeyError, ValueError, pygit2.GitError):  # not there, of several objects, no commit
            return None

    def listing(self, commit: str) -> tuple[TreeEntry, ...]:
        """Every file and folder of a commit, in git's order: a folder, then what is in it."""
        repo = self._open()

        def walk(tree: pygit2.Tree, prefix: str) -> Iterator[TreeEntry]:
            for each in tree:
                path, oid = prefix + str(each.name), str(each.id)
                if each.type == ObjectType.BLOB:
                    _kind, size = repo.odb.read_header(each.id)
                    yield TreeEntry(path, oid, size, is_folder=False)
                else:
                    yield TreeEntry(path, oid, 0, is_folder=True)
                if isinstance(each, pygit2.Tree):
                    yield from walk(each, f"{path}/")

        return tuple(walk(_tree(repo, commit), ""))

    def blobs(self, oids: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs, by id.

        Raises:
            KeyError: git has no such object.
        """
        wanted = dict.fromkeys(oids)
        if not wanted:
            return {}
        objects = self._open().odb
        return {oid: objects.read(oid)[1] for oid in wanted}

    def log(self, commit: str, *, skip: int, limit: int) -> list[CommitRecord]:
        """Commits that led to this one, newest first."""
        # The order of git itself: by time, and no commit before one that it led to.
        walk = self._open().walk(pygit2.Oid(hex=commit), SortMode.NONE)
        return [_record(each) for each in islice(walk, skip, skip + limit)]

    def commit_of_each_path(self, commit: str) -> dict[str, CommitRecord]:
        """The newest commit that touched each file or folder."""
        repo = self._open()
        walk = repo.walk(pygit2.Oid(hex=commit), SortMode.NONE)
        walk.simplify_first_parent()
        found: dict[str, CommitRecord] = {}
        for each in walk:
            record = _record(each)
            # From its first parent to it; a first commit from nothing.
            before = each.parent_ids[0] if each.parent_ids else None
            changed = repo.diff(before, each.id) if before else each.tree.diff_to_tree(swap=True)
            for delta in changed.deltas:
                path = delta.new_file.path
                while path:
                    found.setdefault(path, record)
                    path = path.rpartition("/")[0]
        return found

    def write_commit(
        self, parent: str | None, files: Mapping[str, bytes], removed: Iterable[str], signature: Signature
    ) -> str:
        """Store a commit on top of `parent` without moving any ref; return its id.

        It is not reachable yet: call `move_ref` soon.
        """
        repo = self._open()
        index = pygit2.Index()
        if parent:
            index.read_tree(_tree(repo, parent))
        for path in removed:
            index.remove(path)
        for path, content in files.items():
            index.add(pygit2.IndexEntry(path, repo.create_blob(content), FileMode.BLOB))
        return _committed(repo, index.write_tree(repo), [parent] if parent else [], signature)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers of this repository waiting, in this process and in others.

        Compare-and-swap alone is enough to lose nothing, but lets one of many writers try for ever.
        """
        with (self.path / "writers.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def move_ref(self, ref: str, new: str, old: str | None) -> None:
        """Point a ref to a commit if it still points to `old` (None: does not exist yet).

        Raises:
            MovedError: it points elsewhere, or another ref's name is in its way.
        """
        repo = self._open()
        try:
            if old is None:
                repo.references.create(ref, new)
            else:
                reference = repo.references[ref]
                if str(reference.target) != old:
                    raise MovedError(f"{ref} is at {reference.target}, not at {old}")
                # Fails if somebody moved it since it was read.
                reference.set_target(new)
        except (KeyError, ValueError, OSError, pygit2.GitError) as error:  # each kind of hindrance has its own
            raise MovedError(str(error)) from error

    def delete_ref(self, ref: str) -> None:
        """Remove a ref; what it pointed to stays in the repository."""
        self._open().references.delete(ref)

    def write_tag(self, name: str, commit: str, signature: Signature) -> str:
        """Store a tag object with a message; return its id. It is not reachable before a ref points to it."""
        who = signature.who
        tagger = f"{who.name} <{who.email}> {who.time} +0000"
        head = f"object {commit}\ntype commit\ntag {name}\ntagger {tagger}\n\n{signature.message}\n"
        return str(self._open().odb.write(ObjectType.TAG, head.encode()))

    def merge(self, ours: str, theirs: str) -> Merge:
        """Merge two commits in memory; no ref moves."""
        repo = self._open()
        index = repo.merge_commits(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs))
        if index.conflicts is not None:
            sides = (next(side for side in conflict if side) for conflict in index.conflicts)
            return Merge(None, tuple(dict.fromkeys(side.path for side in sides)))
        return Merge(str(index.write_tree(repo)), ())

    def commit_tree(self, tree: str, parents: Iterable[str], signature: Signature) -> str:
        """Store a commit of an existing tree; return its id."""
        return _committed(self._open(), pygit2.Oid(hex=tree), parents, signature)

    def diff(self, base: str, head: str) -> str:
        """What `head` changes since it left `base`, as a unified diff, cut at MAX_DIFF_BYTES."""
        repo = self._open()
        ours, theirs = repo.revparse_single(base).id, repo.revparse_single(head).id
        patch = repo.diff(repo.merge_base(ours, theirs) or ours, theirs).patch or ""
        return patch.encode()[:MAX_DIFF_BYTES].decode(errors="replace")


def _tree(repo: pygit2.Repository, commit: str) -> pygit2.Tree:
    return repo[commit].peel(pygit2.Tree)


def _committed(repo: pygit2.Repository, tree: pygit2.Oid, parents: Iterable[str], signature: Signature) -> str:
    who = signature.who
    return str(repo.create_commit(None, who, who, signature.message, tree, list(parents)))


def _record(commit: pygit2.Commit) -> CommitRecord:
    # git's own notion of a title: the lines before the first empty one, as one.
    title, _, body = commit.message.strip("\n").partition("\n\n")
    at = datetime.fromtimestamp(commit.author.time, UTC)
    return CommitRecord(str(commit.id), commit.author.name, at, " ".join(title.split("\n")), body.strip())
