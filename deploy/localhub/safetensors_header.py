"""How many parameters a model has, read from the heads of its safetensors files.

Format: https://github.com/huggingface/safetensors#format - eight bytes of length, little-endian, then JSON.
"""

from __future__ import annotations

import json
import math
import struct
from functools import lru_cache
from pathlib import Path

from deploy.localhub.content import Snapshot
from deploy.localhub.errors import EntryNotFoundError

MAX_HEADER_BYTES = 25 * 1024 * 1024
MAX_PARAMETERS = 10**15


def parameter_counts(snapshot: Snapshot) -> dict[str, int]:
    """Parameters by dtype over all `*.safetensors` at the top; empty if there are none or one cannot be read."""
    total: dict[str, int] = {}
    for entry in snapshot.children("", recursive=False):
        if not entry.path.endswith(".safetensors") or entry.is_folder:
            continue
        try:
            path = snapshot.large_path(entry)
        except EntryNotFoundError:
            return {}
        counts = _counts(path) if path else None
        if counts is None:
            return {}
        for dtype, count in counts.items():
            total[dtype] = total.get(dtype, 0) + count
    return total


@lru_cache(maxsize=1024)
def _counts(path: Path) -> dict[str, int] | None:
    """Of one file; None if it is not safetensors. Objects never change, so the answer may be kept."""
    with path.open("rb") as file:
        size_bytes = file.read(8)
        if len(size_bytes) < 8 or (size := struct.unpack("<Q", size_bytes)[0]) > MAX_HEADER_BYTES:
            return None
        head = file.read(size)
    try:
        header = json.loads(head)
        counts: dict[str, int] = {}
        for name, tensor in header.items():
            if name != "__metadata__":
                dtype = str(tensor["dtype"])
                counts[dtype] = counts.get(dtype, 0) + math.prod(int(side) for side in tensor["shape"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return counts if all(0 <= count < MAX_PARAMETERS for count in counts.values()) else None
