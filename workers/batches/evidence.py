"""The evidence store: logs under their SHA-256, wherever fsspec can write."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path

from fsspec.core import url_to_fs

from specs.errors import EvidenceError
from specs.logs.evidence import path_in_store
from specs.measurement import Evidence
from specs.text import clean
from workers.snapshots.disk import is_full_disk

MAX_PARTIAL_BYTES = 4 * 2**30
"""Of a partial log that is fetched to go on from."""

_PART_BYTES = 2**20


def fetch(evidence: Evidence, url: str, target: Path) -> None:
    """Fetch a log from the store, bounded and checked.

    Raises:
        EvidenceError: the store does not have it, or not as it is named; says why.
    """
    if evidence.size_bytes > MAX_PARTIAL_BYTES:
        raise EvidenceError(f"it has {evidence.size_bytes} bytes; a worker reads {MAX_PARTIAL_BYTES} at most")
    digest, size = hashlib.sha256(), 0
    try:
        files, root = url_to_fs(url)
        with (
            files.open(f"{root.rstrip('/')}/{path_in_store(evidence.sha256)}", "rb") as source,
            target.open("wb") as to,
        ):
            while size <= evidence.size_bytes and (part := source.read(_PART_BYTES)):
                size += len(part)
                digest.update(part)
                to.write(part)
    except FileNotFoundError as error:
        raise EvidenceError("it is not in this worker's evidence store") from error
    except Exception as error:  # every remote store has errors of its own
        if is_full_disk(error):
            raise
        raise EvidenceError(f"the evidence store cannot be read: {clean(str(error), 300)}") from error
    if size != evidence.size_bytes or digest.hexdigest() != evidence.sha256:
        raise EvidenceError("what the evidence store holds under its name is something else")


def store(log: Path, url: str) -> Evidence:
    """Store a log as `<url>/<aa>/<sha256>.eval`, where `aa` begins the digest. Doing it again changes nothing.

    Raises:
        OSError: the store cannot be written; other libraries' errors of a remote store come as they are.
    """
    with log.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    evidence = Evidence(sha256=digest, size_bytes=log.stat().st_size)
    files, root = url_to_fs(url)
    target = f"{root.rstrip('/')}/{path_in_store(evidence.sha256)}"
    if files.exists(target) and files.size(target) == evidence.size_bytes:
        return evidence
    # Object stores show a file when it is whole; a file system does so by a rename.
    if "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,)):
        unfinished = f"{target}.{secrets.token_hex(8)}.unfinished"
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            files.put_file(str(log), unfinished)
            files.mv(unfinished, target)
        except BaseException:
            # Half a log on a full disk would keep it full.
            with suppress(FileNotFoundError):
                files.rm_file(unfinished)
            raise
    else:
        files.put_file(str(log), target)
    return evidence
