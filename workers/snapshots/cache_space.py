"""How much room a cache has: its disk's, or what it may take of one that is not its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

OTHERS_FREE_PART = 0.2
"""Of a disk that others use too, which a cache leaves free: Kubernetes ends pods, without asking, where less than 15 %
of a node's disk are."""


@dataclass(frozen=True)
class CacheSpace:
    """In bytes."""

    total: int
    free: int


def cache_space(folder: Path, size_bytes: int | None) -> CacheSpace:
    """Of a cache that may take so much; None is all of its disk."""
    disk = shutil.disk_usage(folder)
    if size_bytes is None:
        return CacheSpace(disk.total, disk.free)
    left = disk.free - int(OTHERS_FREE_PART * disk.total)
    return CacheSpace(min(size_bytes, disk.total), max(0, min(size_bytes - _taken(folder), left)))


def _taken(folder: Path) -> int:
    """By a folder's files, as the disk counts them."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found += 512 * os.lstat(os.path.join(parent, name)).st_blocks  # noqa: PTH118 - for each of many
            except FileNotFoundError:
                continue  # another worker of the cache removed it
    return found
