"""Large files: kept beside git under their SHA-256, with a Git LFS pointer in the commit.

Pointer format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deploy.localhub.errors import BadRequestError

LARGE_BYTES = 10 * 1024 * 1024
"""From this size on a file never goes into git itself; huggingface.co draws the line at the same place."""

MAX_POINTER_BYTES = 200
LARGE_SUFFIXES = (
    ".7z", ".arrow", ".bin", ".bz2", ".ckpt", ".gguf", ".gz", ".h5", ".msgpack", ".npy", ".npz", ".onnx", ".parquet",
    ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tar", ".tflite", ".tgz", ".xz", ".zip", ".zst",
)  # fmt: skip
_CHUNK_BYTES = 1024 * 1024
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n")


@dataclass(frozen=True)
class LargeObject:
    """What a pointer says: the SHA-256 of the content and its size in bytes."""

    sha256: str
    size: int

    def pointer(self) -> bytes:
        """The text that stands for the content in git."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()


def is_large(path: str, size: int) -> bool:
    """Whether a file of this name and size in bytes is kept as a large object. An empty one never is."""
    return size >= LARGE_BYTES or (size > 0 and path.lower().endswith(LARGE_SUFFIXES))


def parse_pointer(content: bytes) -> LargeObject | None:
    """What a blob points to; None if it is an ordinary file."""
    match = _POINTER.fullmatch(content) if len(content) <= MAX_POINTER_BYTES else None
    return LargeObject(match[1].decode(), int(match[2])) if match else None


def git_attributes() -> bytes:
    """The `.gitattributes` of a new repo, so that a clone with Git LFS treats large files as such."""
    return "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES).encode()


class ObjectStore:
    """The folder of large objects. An object is there whole or not at all."""

    def __init__(self, folder: Path):
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Where an object is, or would be."""
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the object is here."""
        return self.path(sha256).is_file()

    def add(self, source: BinaryIO) -> LargeObject:
        """Keep everything that can be read from `source`."""
        with self.receive() as incoming:
            while chunk := source.read(_CHUNK_BYTES):
                incoming.write(chunk)
            return incoming.keep()

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Take in an object bit by bit; nothing stays unless `keep` is called."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="incoming-", delete=False) as file:
            incoming = Incoming(self, file)
            try:
                yield incoming
            finally:
                Path(file.name).unlink(missing_ok=True)


class Incoming:
    """An object on its way into the store."""

    def __init__(self, store: ObjectStore, file: tempfile._TemporaryFileWrapper[bytes]):
        self._store = store
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def keep(self, expected_sha256: str | None = None) -> LargeObject:
        """Put the object into its place.

        Raises:
            BadRequestError: what arrived is not what was announced.
        """
        sha256 = self._digest.hexdigest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise BadRequestError(f"The content has SHA-256 {sha256}, not {expected_sha256}")
        self._file.flush()
        os.fsync(self._file.fileno())
        target = self._store.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(self._file.name).chmod(0o644)
        Path(self._file.name).replace(target)
        return LargeObject(sha256, self.size)
