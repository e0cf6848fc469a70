"""Who uses which snapshot of a cache, and when each was used last.

A cache may be shared by several workers, so it is written where all see it: a file for each snapshot, with a shared
lock (`flock`) on it for as long as somebody uses that, and the time of its last use as its own. So is it with a repo's
folder, which has what its snapshots share, for as long as somebody adds to it. Locks go with their process, however
that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class SnapshotUses:
    """The uses of a cache's snapshots, by name."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for the files."""
        self._folder = folder
        self._held: list[IO[bytes]] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is used within the block counts as used until the block ends; one block at a time in a process."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            for file in held:
                file.close()

    @contextmanager
    def used(self, name: str) -> Iterator[None]:
        """Use a snapshot. Waits while it is being removed."""
        file = self._open(name)
        _locked(file, fcntl.LOCK_SH)
        with suppress(PermissionError):
            # Where another user's worker made it, the time of an earlier use has to do.
            os.utime(file.fileno())
        try:
            yield
        finally:
            if self._held is not None:
                self._held.append(file)
            else:
                file.close()

    @contextmanager
    def filled(self, repo_folder: str) -> Iterator[None]:
        """Add a snapshot to a repo's folder. Waits while something of it is being removed."""
        with self._open(repo_folder) as file:
            _locked(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def unused(self, name: str) -> Iterator[bool]:
        """Whether nobody uses a snapshot, or adds to a repo's folder; then nobody begins to within the block."""
        with self._open(name) as file:
            yield _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def last_used(self, name: str) -> float:
        """In seconds since 1970; 0 where nobody did."""
        try:
            return (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def names(self, pattern: str) -> list[str]:
        """Of what was ever used, like a shell's pattern."""
        return [each.name for each in self._folder.glob(pattern)]

    def _open(self, name: str) -> IO[bytes]:
        file = self._folder / name
        try:
            # As it is: a disk without room has none for a new file. For writing, without which NFS locks nothing for
            # one alone.
            return file.open("r+b")
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            file.touch()
            return file.open("r+b")
        except PermissionError:
            # Another user's worker made it.
            return file.open("rb")


def _locked(file: IO[bytes], how: int) -> bool:
    """Whether a lock was had. Where a file system has none, nobody knows who uses what, and nothing is unused."""
    try:
        fcntl.flock(file, how)
    except OSError:
        return False
    return True
