"""Room in the cache for another snapshot: those that were used longest ago give way.

The Hub's client knows which of its files belong to which snapshot alone, and removes them; who uses what is in
workers/snapshots/snapshot_uses.py. What `datasets` (5.2) made of a dataset to read it goes with the snapshot: it is a
folder with the name of the snapshot's, which is its commit.
"""

from __future__ import annotations

import fcntl
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache as remembered
from functools import partial
from pathlib import Path

from huggingface_hub import CachedRepoInfo, CachedRevisionInfo, DeleteCacheStrategy, HFCacheInfo, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from workers.snapshots.snapshot_uses import SnapshotUses

HUB = "hub"
"""Folder of the cache that is the Hub's client's."""

COMPLETE = "complete"
"""Folder with a file for each snapshot that arrived whole."""

PREPARED = "datasets"
"""Folder of the cache with datasets as `datasets` reads them, which are larger than their files."""

LEFT_SECONDS = 3600.0
"""What a download wrote so long ago last, it was killed over: one that is alive fails long before."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_log = logging.getLogger(__name__)


def snapshot_name(kind: str, repo_id: str, revision: str) -> str:
    """What a snapshot is called in the cache's own folders."""
    return f"{kind}--{repo_id.replace('/', '--')}--{revision}"


def repo_folder(kind: str, repo_id: str) -> str:
    """What the Hub's client calls a repo's folder."""
    return f"{kind}s--{repo_id.replace('/', '--')}"


def make_room(cache: Path, uses: SnapshotUses, missing_bytes: int, wanted: Set[Path] = frozenset()) -> bool:
    """Remove what nobody uses, until so many bytes are freed; whether they are.

    Where all of it would not be enough, nothing is removed. Of the client's files, `wanted` ones stay, whatever becomes
    of the snapshots that have them.
    """
    with _one_at_a_time(cache), ExitStack() as locks:
        try:
            found = scan_cache_dir(cache / HUB)
        except CacheNotFound:
            return False
        missing_bytes -= _remove_left(cache, found, uses)
        if missing_bytes <= 0:
            return True

        @remembered
        def unused(name: str) -> bool:
            return locks.enter_context(uses.unused(name))

        kept = sorted(_kept(cache, found, uses), key=lambda each: each.last_used)
        free = (each for each in kept if unused(each.repo.repo_path.name) and unused(each.name))
        chosen = _chosen(free, missing_bytes, partial(_removal, found, wanted))
        if not chosen:
            return False
        for each in chosen:
            _log.info("removing %s to make room: it was not used for longest", each.name)
            (cache / COMPLETE / each.name).unlink(missing_ok=True)
        # Once more: now nobody adds to their repos, but until they were locked somebody may have, with the same files.
        _removal(scan_cache_dir(cache / HUB), wanted, [each.name for each in chosen]).execute()
        for each in chosen:
            if each.prepared is not None:
                _remove_prepared(each.prepared, uses, besides=each.name)
        return True


@dataclass(frozen=True)
class _Kept:
    name: str
    last_used: float
    repo: CachedRepoInfo
    revision: CachedRevisionInfo
    prepared: Path | None
    """What goes with it."""


def _chosen(
    unused: Iterable[_Kept], missing_bytes: int, removal: Callable[[Sequence[str]], DeleteCacheStrategy]
) -> Sequence[_Kept]:
    """As many, in order, as together free `missing_bytes`; empty if even all of them would not."""
    chosen: list[_Kept] = []
    files = prepared = 0
    for each in unused:
        chosen.append(each)
        files += each.revision.size_on_disk
        prepared += _size(each.prepared) if each.prepared is not None else 0
        # That is the most it can be: files that one that stays has too, in this repo or another one, stay with it.
        if files + prepared < missing_bytes:
            continue
        if removal([kept.name for kept in chosen]).expected_freed_size + prepared >= missing_bytes:
            return chosen
    return []


def _removal(found: HFCacheInfo, wanted: Set[Path], names: Sequence[str]) -> DeleteCacheStrategy:
    """Of snapshots, all together: what only they share goes with the last of them."""
    repos = frozenset(_as_removed(repo, wanted) for repo in found.repos)
    return replace(found, repos=repos).delete_revisions(*names)


def _as_removed(repo: CachedRepoInfo, wanted: Set[Path]) -> CachedRepoInfo:
    # The client goes by commits, and a copy of a repo has the same ones.
    named = {replace(each, commit_hash=_name(repo, each)) for each in repo.revisions}
    staying = frozenset(file for each in repo.revisions for file in each.files if file.blob_path in wanted)
    if staying:
        # As the snapshot that is to be fetched will have them.
        named.add(CachedRevisionInfo("", repo.repo_path, 0, staying, frozenset(), 0.0))
    return replace(repo, revisions=frozenset(named))


def _name(repo: CachedRepoInfo, revision: CachedRevisionInfo) -> str:
    return snapshot_name(repo.repo_type, repo.repo_id, revision.commit_hash)


def _kept(cache: Path, found: HFCacheInfo, uses: SnapshotUses) -> Iterator[_Kept]:
    commits = _dataset_commits(found)
    for repo in found.repos:
        for revision in repo.revisions:
            name = _name(repo, revision)
            # What is made of a copy of the repo lies in the same folder.
            alone = repo.repo_type == "dataset" and commits[revision.commit_hash] == 1
            prepared = cache / PREPARED / revision.commit_hash if alone else None
            # One that nobody asked for by this name was left by an earlier version, or its download did not end.
            yield _Kept(name, uses.last_used(name) or revision.last_modified, repo, revision, prepared)


def _remove_left(cache: Path, found: HFCacheInfo, uses: SnapshotUses) -> int:
    """Remove what is left of downloads that were killed, and of datasets whose snapshots are gone; its bytes."""
    freed, commits = 0, _dataset_commits(found)
    for file in found.incomplete_files:
        # The client (2.4) goes on with none of them: it begins anew, in a file of another name.
        with uses.unused(file.file_path.parents[1].name) as unused, suppress(FileNotFoundError, PermissionError):
            found_as = file.file_path.lstat()
            # Some file systems grant every lock, or know one machine's alone; and earlier workers took none here.
            if unused and found_as.st_mtime < time.time() - LEFT_SECONDS:
                file.file_path.unlink()
                # As the disk counts it: what comes by Xet is written in several places at once.
                freed += 512 * found_as.st_blocks
    for folder in (cache / PREPARED).glob("*"):
        if _COMMIT.fullmatch(folder.name) and folder.name not in commits:
            freed += _remove_prepared(folder, uses)
    return freed


def unfinished_in_words(cache: Path) -> str:
    """What of downloads that did not end is too young to be removed, and until when; empty where there is none."""
    size, written = 0, 0.0
    for file in (cache / HUB).glob("*/blobs/*.incomplete"):
        with suppress(FileNotFoundError):
            found_as = file.lstat()
            size, written = size + 512 * found_as.st_blocks, max(written, found_as.st_mtime)
    if not size:
        return ""
    until = datetime.fromtimestamp(written + LEFT_SECONDS, UTC)
    return f"; {size / 2**30:.1f} GiB of unfinished downloads can go from {until:%H:%M} UTC on, unless they go on"


def _remove_prepared(folder: Path, uses: SnapshotUses, besides: str | None = None) -> int:
    """Remove what was made of a dataset, unless somebody uses a snapshot of its commit; how many bytes it had.

    Which may have come only since the cache was looked at. `besides` is known to be unused.
    """
    with ExitStack() as locks:
        for name in uses.names(snapshot_name("dataset", "*", folder.name)):
            if name != besides and not locks.enter_context(uses.unused(name)):
                return 0
        size = _size(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return size


def _dataset_commits(found: HFCacheInfo) -> Counter[str]:
    """How many datasets of a cache are there at each commit."""
    datasets = (repo for repo in found.repos if repo.repo_type == "dataset")
    return Counter(revision.commit_hash for repo in datasets for revision in repo.revisions)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    with (cache / "making-room").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
