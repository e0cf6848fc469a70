"""The evidence store as processes of both rooms read it, wherever fsspec can."""

from __future__ import annotations

import hashlib
from typing import IO, Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from specs.logs.evidence import path_in_store
from specs.measurement import Evidence

PART_BYTES = 2**20
"""What a copy reads of a log at a time."""

AHEAD_BYTES = 7 * PART_BYTES
"""What a store may send ahead of that: few copies are made at once, and the Hub counts requests."""


def evidence_store(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a store, which knows it as it is now, and the store's folder there.

    Drivers are kept for the life of a thread. To look for a log in a bucket of the Hub, its driver lists the log's
    folder, and goes by that list ever after: what others have stored since would not be there.
    """
    files, root = url_to_fs(url)
    files.invalidate_cache()
    return files, root


def place_in(root: str, sha256: str) -> str:
    """Where a log lies in a store's file system, or would lie."""
    return f"{root.rstrip('/')}/{path_in_store(sha256)}"


def open_log(files: AbstractFileSystem, root: str, sha256: str, ahead: int = AHEAD_BYTES) -> Any:
    """Open a log for reading, as a file of fsspec, which has no types.

    A bucket sends so many bytes more than are read, and the file holds them. Drivers' own choice is up to 50 MiB.
    """
    return files.open(place_in(root, sha256), "rb", block_size=ahead)


def copy_log(source: Any, evidence: Evidence, to: IO[bytes]) -> bool:
    """Copy a log, and no more than the size that it is said to have; whether it is the one that is named."""
    digest, size = hashlib.sha256(), 0
    while part := source.read(PART_BYTES):
        size += len(part)
        if size > evidence.size_bytes:
            return False
        digest.update(part)
        to.write(part)
    return size == evidence.size_bytes and digest.hexdigest() == evidence.sha256
