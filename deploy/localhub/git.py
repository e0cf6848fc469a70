"""A bare git repository, read and written with git's own plumbing.

Refs are read from their files, without a process; everything else is one git process a call. Commits are immutable,
so what is read from one may be cached under its id for ever.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

NO_COMMIT = "0" * 40
MAX_DIFF_BYTES = 1_000_000
_GIT_SECONDS = 600


class GitError(RuntimeError):
    """Git refused, with its own words."""


class MovedError(GitError):
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
    def stamp(self) -> str:
        """Who and when, as git writes it."""
        return f"{self.author} <{self.author}@localhub> {int(self.at.timestamp())} +0000"


@dataclass(frozen=True)
class Merge:
    """The outcome of merging two commits: a tree, or the files that are in each other's way."""

    tree: str
    conflicts: tuple[str, ...]


def _clean_environment() -> dict[str, str]:
    # Nothing of the machine's or the user's git configuration (hooks, signing, filters) may act on these repos.
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


class GitRepo:
    """One bare repository at `path`."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: Path) -> GitRepo:
        """Make an empty bare repository whose default branch is `main`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the template's examples of hooks, which would be copied and never run.
        _git(["init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path)])
        return cls(path)

    def _run(self, *arguments: str, data: bytes | None = None) -> bytes:
        return _git([f"--git-dir={self.path}", *arguments], data)

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
            return self._run("rev-parse", "--verify", "--quiet", f"{expression}^{{commit}}").decode().strip()
        except GitError:
            return None

    def listing(self, commit: str) -> tuple[TreeEntry, ...]:
        """Every file and folder of a commit, in git's order."""
        entries = []
        for line in self._run("ls-tree", "-r", "-t", "-l", "-z", commit).split(b"\0")[:-1]:
            head, _, path = line.partition(b"\t")
            _mode, kind, oid, size = head.split()
            is_folder = kind != b"blob"
            entries.append(TreeEntry(path.decode(), oid.decode(), 0 if is_folder else int(size), is_folder))
        return tuple(entries)

    def blobs(self, oids: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs, by id, in one process."""
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return {}
        output = memoryview(self._run("cat-file", "--batch", data="".join(f"{oid}\n" for oid in wanted).encode()))
        found, at = {}, 0
        for oid in wanted:
            end = at + bytes(output[at : at + 200]).index(b"\n")
            header = bytes(output[at:end]).split()
            if len(header) != 3:
                raise GitError(f"git has no object {oid}")
            size = int(header[2])
            found[oid] = bytes(output[end + 1 : end + 1 + size])
            at = end + 1 + size + 1
        return found

    def log(self, commit: str, *, skip: int, limit: int) -> list[CommitRecord]:
        """Commits that led to this one, newest first."""
        layout = "--format=%H%x00%an%x00%at%x00%s%x00%b"
        output = self._run("log", "-z", layout, f"--skip={skip}", f"--max-count={limit}", commit).decode()
        fields = output.removesuffix("\0").split("\0") if output else []
        return [
            CommitRecord(oid, author, datetime.fromtimestamp(int(at), UTC), title, body.strip())
            for oid, author, at, title, body in zip(*[iter(fields)] * 5, strict=True)
        ]

    def commit_of_each_path(self, commit: str) -> dict[str, CommitRecord]:
        """The newest commit that touched each file or folder."""
        layout = "--format=%x01%H%x00%an%x00%at%x00%s%x00%b%x01"
        output = self._run("log", "-z", "--name-only", "-m", "--first-parent", "--root", layout, commit).decode()
        found: dict[str, CommitRecord] = {}
        parts = output.split("\x01")[1:]
        for head, names in zip(parts[::2], parts[1::2], strict=True):
            oid, author, at, title, body = head.split("\0")
            record = CommitRecord(oid, author, datetime.fromtimestamp(int(at), UTC), title, body.strip())
            for name in filter(None, (part.strip("\n") for part in names.split("\0"))):
                path = name
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
        incoming = f"refs/incoming/{uuid4().hex}"
        stamp = signature.stamp
        message = signature.message.encode()
        stream = [f"commit {incoming}\nmark :1\nauthor {stamp}\ncommitter {stamp}\ndata {len(message)}\n".encode()]
        stream.append(message + b"\n")
        if parent:
            stream.append(f"from {parent}\n".encode())
        stream.extend(b"D " + _quoted(path) + b"\n" for path in removed)
        for path, content in files.items():
            stream.append(b"M 100644 inline " + _quoted(path) + f"\ndata {len(content)}\n".encode())
            stream.extend((content, b"\n"))
        stream.append(b"get-mark :1\ndone\n")
        oid = self._run("fast-import", "--quiet", "--done", "--date-format=raw", data=b"".join(stream)).decode().strip()
        # Ours alone, and a file of its own: no process is needed to be rid of it.
        (self.path / incoming).unlink()
        return oid

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
            MovedError: it points elsewhere.
        """
        try:
            self._run("update-ref", ref, new, old or NO_COMMIT)
        except GitError as error:
            raise MovedError(str(error)) from error

    def delete_ref(self, ref: str) -> None:
        """Remove a ref; what it pointed to stays in the repository."""
        self._run("update-ref", "-d", ref)

    def write_tag(self, name: str, commit: str, signature: Signature) -> str:
        """Store a tag object with a message; return its id. It is not reachable before a ref points to it."""
        head = f"object {commit}\ntype commit\ntag {name}\ntagger {signature.stamp}\n\n{signature.message}\n"
        return self._run("mktag", data=head.encode()).decode().strip()

    def merge(self, ours: str, theirs: str) -> Merge:
        """Merge two commits in memory; no ref moves. `git merge-tree --write-tree` exits with 1 on conflicts."""
        command = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs]
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", *command],
            capture_output=True,
            env=_clean_environment(),
            timeout=_GIT_SECONDS,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise GitError(done.stderr.decode(errors="replace").strip())
        tree, *conflicts = done.stdout.decode().removesuffix("\0").split("\0")
        return Merge(tree, tuple(conflicts))

    def commit_tree(self, tree: str, parents: Iterable[str], signature: Signature) -> str:
        """Store a commit of an existing tree; return its id."""
        identity = [f"-c user.name={signature.author}", f"-c user.email={signature.author}@localhub"]
        options = [word for pair in identity for word in pair.split(" ", 1)]
        parent_options = [word for parent in parents for word in ("-p", parent)]
        return (
            self._run(*options, "commit-tree", tree, *parent_options, "-F", "-", data=signature.message.encode())
            .decode()
            .strip()
        )

    def diff(self, base: str, head: str) -> str:
        """What `head` changes since it left `base`, as a unified diff, cut at MAX_DIFF_BYTES."""
        return self._run("diff", "--no-ext-diff", f"{base}...{head}")[:MAX_DIFF_BYTES].decode(errors="replace")


def _quoted(path: str) -> bytes:
    # The path syntax of git fast-import; control characters never get here (see names.check_path).
    return b'"' + path.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def _git(arguments: list[str], data: bytes | None = None) -> bytes:
    done = subprocess.run(
        ["git", *arguments],
        input=data if data is not None else b"",
        capture_output=True,
        env=_clean_environment(),
        timeout=_GIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise GitError(done.stderr.decode(errors="replace").strip() or f"git ended with {done.returncode}")
    return done.stdout
