"""Counts and widths in a config.json that may be left out, or say anything: whoever asks does without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_SIDE = 2**20


def side(config: Mapping[str, Any], *keys: str, most: int = MAX_SIDE) -> int:
    """The first of `keys` that is there; 0 where none is, or that is no whole number from 1 to `most`."""
    value = next((config[key] for key in keys if config.get(key) is not None), 0)
    return value if type(value) is int and 0 < value <= most else 0
