"""Checksums: whether the files of a snapshot are those of its commit, by the hashes that the commit has of them.

Sizes alone do not tell: a mirror, a proxy or a disk that gives other bytes of the same number would have other weights
or questions measured under the commit's name, and an honest claim called a mismatch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub.hf_api import RepoFile

_AT_ONCE = 4
_SHA1_CHARS = 40


def wrong_file(snapshot: Path, files: Sequence[RepoFile]) -> str | None:
    """The name of a file that is not there, or not as the commit has it; None where all are.

    Of what is wrong nothing is left, so that it is fetched anew. Files of which the Hub names no hash are held to their
    size.
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="arrived") as pool:
        for file, is_right in zip(files, pool.map(lambda each: _is_right(snapshot, each), files), strict=True):
            if not is_right:
                return str(file.path)
    return None


def _is_right(snapshot: Path, file: RepoFile) -> bool:
    found = snapshot / file.path
    if not found.is_file() or (file.size is not None and found.stat().st_size != file.size):
        return False
    if file.lfs is not None:
        right = _digest(found, hashlib.sha256()) == file.lfs.sha256
    elif file.blob_id is not None:
        # Git's own name of a file (gitformat-loose, "blob"), of SHA-1 or SHA-256 by its length.
        kind = hashlib.sha1(usedforsecurity=False) if len(file.blob_id) == _SHA1_CHARS else hashlib.sha256()
        kind.update(b"blob %d\0" % found.stat().st_size)
        right = _digest(found, kind) == file.blob_id
    else:
        right = True
    if not right:
        # The client would take what lies in its cache for what it should fetch.
        found.resolve().unlink(missing_ok=True)
        found.unlink(missing_ok=True)
    return right


def _digest(file: Path, digest: hashlib._Hash) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: digest).hexdigest()
