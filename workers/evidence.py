"""The evidence store: logs under their SHA-256, wherever fsspec can write."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path

from fsspec.core import url_to_fs

from specs.evidence import path_in_store
from specs.measurement import Evidence


def store(log: Path, url: str) -> Evidence:
    """Store a log as `<url>/<aa>/<sha256>.eval`, where `aa` begins the digest. Doing it again changes nothing.

    Raises:
        OSError: the store cannot be written; other libraries' errors of a remote store come as they are.
    """
    digest = hashlib.sha256()
    with log.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    evidence = Evidence(sha256=digest.hexdigest(), size_bytes=log.stat().st_size)
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
