"""The order in which a run takes a benchmark's samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def seeded_order(ids: Iterable[int], seed: int) -> list[int]:
    """The ids in the random order of a seed: ascending by the SHA-256 of `SEED:ID` in decimal digits.

    A rule that anyone can repeat in any language, and that does not depend on how many samples there are.
    """
    return sorted(ids, key=lambda each: hashlib.sha256(f"{seed}:{each}".encode()).digest())
