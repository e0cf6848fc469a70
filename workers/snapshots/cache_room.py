"""Room in the cache for another snapshot: those that were used longest ago give way.

The Hub's client knows which of its files belong to which snapshot alone, and removes them; who uses what is in
workers/snapshots/snapshot_uses.py.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import CachedRepoInfo, CachedRevisionInfo, HFCacheInfo, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from workers.snapshots.snapshot_uses import SnapshotUses

HUB = "hub"
"""Folder of the cache that is the Hub's client's."""

COMPLETE = "complete"
"""Folder with a file for each snapshot that arrived whole."""

_log = logging.getLogger(__name__)


def snapshot_name(kind: str, repo_id: str, revision: str) -> str:
    """What a snapshot is called in the cache's own folders."""
    return f"{kind}--{repo_id.replace('/', '--')}--{revision}"


def make_room(cache: Path, uses: SnapshotUses, missing_bytes: int) -> bool:
    """Remove what nobody uses, until so many bytes are freed; whether they are.

    Where all of it would not be enough, nothing is removed.
    """
    with _one_at_a_time(cache), ExitStack() as locks:
        try:
            found = scan_cache_dir(cache / HUB)
        except CacheNotFound:
            return False
        chosen: list[_Kept] = []
        freed = 0
        for each in sorted(_kept(found, uses), key=lambda kept: kept.last_used):
            if freed >= missing_bytes:
                break
            if locks.enter_context(uses.unused(each.name)):
                chosen.append(each)
                freed += each.revision.size_on_disk
        if freed < missing_bytes:
            return False
        for each in chosen:
            _log.info("removing %s to make room: it was not used for longest", each.name)
            (cache / COMPLETE / each.name).unlink(missing_ok=True)
            # One repo at a time: a copy of a repo has the same commits, and may be in use.
            alone = replace(found, repos=frozenset({each.repo}))
            alone.delete_revisions(each.revision.commit_hash).execute()
        return True


@dataclass(frozen=True)
class _Kept:
    name: str
    last_used: float
    repo: CachedRepoInfo
    revision: CachedRevisionInfo


def _kept(found: HFCacheInfo, uses: SnapshotUses) -> Iterator[_Kept]:
    for repo in found.repos:
        for revision in repo.revisions:
            name = snapshot_name(repo.repo_type, repo.repo_id, revision.commit_hash)
            # One that nobody asked for by this name was left by an earlier version, or its download did not end.
            yield _Kept(name, uses.last_used(name) or revision.last_modified, repo, revision)


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    with (cache / "making-room").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
