"""Changes to a repo's files and how they become a commit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from io import BytesIO
from pathlib import Path

from deploy.localhub.content import Snapshot
from deploy.localhub.errors import BadRequestError, EntryNotFoundError, StaleParentError
from deploy.localhub.git import GitRepo, MovedError, Signature
from deploy.localhub.names import check_path
from deploy.localhub.objects import MAX_POINTER_BYTES, LargeObject, ObjectStore, is_large, parse_pointer

MAX_MESSAGE_CHARS = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass
class Changes:
    """Files to write (content as git will hold it), and files and folders to remove."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    removed_files: list[str] = field(default_factory=list)
    removed_folders: list[str] = field(default_factory=list)

    def add(self, path: str, content: bytes | Path, objects: ObjectStore) -> None:
        """Write a file; one that is large goes to the object store and leaves a pointer.

        Raises:
            BadRequestError: this is a pointer itself, left by a clone without Git LFS, or forged.
        """
        check_path(path)
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        if not is_large(path, size) or size <= MAX_POINTER_BYTES:
            blob = content.read_bytes() if isinstance(content, Path) else content
            if parse_pointer(blob):
                raise BadRequestError(f"{path} is a Git LFS pointer; the file itself is wanted")
        if not is_large(path, size):
            self.blobs[path] = blob
            return
        with content.open("rb") if isinstance(content, Path) else BytesIO(content) as source:
            self.blobs[path] = objects.add(source).pointer()

    def add_large(self, path: str, large: LargeObject) -> None:
        """Write a file whose content is in the object store already."""
        self.blobs[check_path(path)] = large.pointer()


@dataclass(frozen=True)
class CommitText:
    """A commit's message and whose it is."""

    title: str
    author: str
    description: str = ""

    def signature(self) -> Signature:
        """The same with the present time, as git wants it.

        Raises:
            BadRequestError: no title.
        """
        title, description = (_CONTROL.sub("", text.replace("\r\n", "\n")) for text in (self.title, self.description))
        if not title.strip():
            raise BadRequestError("A commit needs a message")
        message = f"{title.strip()}\n\n{description.strip()}".strip()[:MAX_MESSAGE_CHARS]
        return Signature(message, self.author, datetime.now(UTC))


@dataclass(frozen=True)
class Written:
    """A commit that was made. `old` is what the ref pointed to before; equal to `new` if nothing changed."""

    ref: str
    old: str | None
    new: str


class Committer:
    """Writes commits into one repo."""

    def __init__(self, git: GitRepo, objects: ObjectStore):
        self._git = git
        self._objects = objects

    def commit(self, ref: str, changes: Changes, text: CommitText, parent: str | None = None) -> Written:
        """Commit on top of a branch or pull request.

        Several writers may do so at once: each change is put on top of whatever was written before it. With `parent`
        given it must still be the head.

        Raises:
            StaleParentError: it is not.
        """
        with self._git.writing():
            head = self._git.read_ref(ref)
            if parent is not None and parent != head:
                raise StaleParentError
            new = self.build(head, changes, text)
            if new != head:
                try:
                    self._git.move_ref(ref, new, head)
                except MovedError as error:  # by somebody with git alone, who does not know of the lock
                    raise StaleParentError from error
        return Written(ref, head, new)

    def build(self, head: str | None, changes: Changes, text: CommitText) -> str:
        """A commit on top of `head` that no ref points to yet; `head` itself if nothing would change.

        Raises:
            EntryNotFoundError: a file or folder to be removed is not there.
        """
        known: Mapping[str, str] = {}
        if head is not None:
            known = {entry.path: entry.oid for entry in Snapshot(self._git, self._objects, head).files}
        removed = self._removed(changes, known, head)
        blobs = {path: content for path, content in changes.blobs.items() if known.get(path) != _blob_id(content)}
        removed -= changes.blobs.keys()  # removed and written again: written
        if head is not None and not blobs and not removed:
            return head
        return self._git.write_commit(head, blobs, sorted(removed), text.signature())

    @staticmethod
    def _removed(changes: Changes, known: Mapping[str, str], head: str | None) -> set[str]:
        removed = set()
        for path in changes.removed_files:
            if check_path(path) not in known:
                raise EntryNotFoundError(f"{path} (A file with this name doesn't exist)", head)
            removed.add(path)
        for folder in changes.removed_folders:
            prefix = f"{check_path(folder.rstrip('/'))}/"
            inside = {path for path in known if path.startswith(prefix)}
            if not inside:
                raise EntryNotFoundError(f"{folder} (A file with this name doesn't exist)", head)
            removed |= inside
        return removed


def _blob_id(content: bytes) -> str:
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
