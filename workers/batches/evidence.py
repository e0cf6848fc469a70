"""The evidence store: logs under their SHA-256, wherever fsspec can write."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fsspec import AbstractFileSystem

from specs.errors import EvidenceAway, EvidenceError
from specs.logs.evidence import MAX_LOG_BYTES
from specs.measurement import Evidence
from specs.processes.evidence_store import copy_log, evidence_store, open_log, place_in
from specs.text import clean
from workers.disk_faults import is_full_disk
from workers.errors import DiskFull

_LOOK_SECONDS = 0.5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_log = logging.getLogger(__name__)

T = TypeVar("T")


def patiently(attempt: Callable[[], T], patience_seconds: float, on_wait: Callable[[str], None]) -> T:
    """Have `store` or `fetch` tried again while the store is away or full, with growing pauses, for so long.

    `on_wait` is called twice a second between two tries, with why the last one failed; what it raises ends the wait.

    Raises:
        EvidenceAway: the store was not reached in time.
        OSError: it was full until the end.
    """
    until, pause = time.monotonic() + patience_seconds, _FIRST_PAUSE_SECONDS
    while True:
        try:
            return attempt()
        except EvidenceAway as error:
            if time.monotonic() >= until:
                raise EvidenceAway(f"{error}; so for {patience_seconds:.0f} s") from error
            why = str(error)
        except OSError as error:
            if time.monotonic() >= until or not is_full_disk(error):
                raise
            why = clean(f"it is full: {error}", 300)
        _log.warning("%s; trying again in %.0f s", why, pause)
        again = min(time.monotonic() + pause, until)
        while time.monotonic() < again:
            on_wait(why)
            time.sleep(_LOOK_SECONDS)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def fetch(evidence: Evidence, url: str, target: Path) -> None:
    """Fetch a log from the store, bounded and checked.

    Raises:
        EvidenceError: the store does not have it, or not as it is named; says why.
        EvidenceAway: the store cannot be read.
        DiskFull: there is no room for it here.
    """
    if evidence.size_bytes > MAX_LOG_BYTES:
        raise EvidenceError(f"it has {evidence.size_bytes} bytes; a worker reads {MAX_LOG_BYTES} at most")
    try:
        files, root = evidence_store(url)
        try:
            source = open_log(files, root, evidence.sha256)
        except FileNotFoundError as error:
            # A volume that is not mounted has no log of anybody's. A bucket without any is there all the same.
            if _is_file_system(files) and not files.exists(root):
                raise EvidenceAway(f"there is no evidence store at {clean(root, 200)}") from error
            raise EvidenceError("it is not in this worker's evidence store") from error
        with source, target.open("wb") as to:
            is_it = copy_log(source, evidence, to)
    except (EvidenceError, EvidenceAway):
        raise
    except Exception as error:  # every remote store has errors of its own
        if is_full_disk(error):
            raise DiskFull(f"there is no room for the log to go on from: {clean(str(error), 200)}") from error
        raise EvidenceAway(f"the evidence store cannot be read: {clean(str(error), 300)}") from error
    if not is_it:
        raise EvidenceError("what the evidence store holds under its name is something else")


def store(log: Path, url: str) -> Evidence:
    """Store a log as `<url>/<aa>/<sha256>.eval`, where `aa` begins the digest. Doing it again changes nothing.

    Raises:
        EvidenceAway: the store cannot be written.
        OSError: it is full, or the log cannot be read.
    """
    with log.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    evidence = Evidence(sha256=digest, size_bytes=log.stat().st_size)
    files, root = evidence_store(url)
    target = place_in(root, evidence.sha256)
    try:
        if not (files.exists(target) and files.size(target) == evidence.size_bytes):
            _put(files, log, target)
    except Exception as error:  # every remote store has errors of its own
        if is_full_disk(error):
            raise
        words = f"the evidence store cannot be written: {type(error).__name__}: {error}"
        raise EvidenceAway(clean(words, 300)) from error
    return evidence


def _put(files: AbstractFileSystem, log: Path, target: str) -> None:
    # Object stores show a file when it is whole, and keep it; a file system does so by a rename, and by being told to.
    if not _is_file_system(files):
        files.put_file(str(log), target)
        return
    unfinished = f"{target}.{secrets.token_hex(8)}.unfinished"
    folder = Path(target).parent
    files.makedirs(str(folder), exist_ok=True)
    try:
        files.put_file(str(log), unfinished)
        _keep(Path(unfinished))
        files.mv(unfinished, target)
        # The folder may be new in its own.
        for changed in (folder, folder.parent):
            _keep(changed)
    except BaseException:
        # Half a log on a full disk would keep it full.
        with suppress(FileNotFoundError):
            files.rm_file(unfinished)
        raise


def _keep(place: Path) -> None:
    """Have a file, or the names in a folder, outlast a power cut: the verdict on a log and its badge do."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have nothing of the kind for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _is_file_system(files: AbstractFileSystem) -> bool:
    return "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,))
