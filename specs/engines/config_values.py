"""Values in a config.json, which is somebody's upload: each is bounded, and what is none is a reason, not a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specs.errors import SubmissionError
from specs.text import clean

MAX_LAYERS = 2000
MAX_HEADS = 4096
MAX_WIDTH = 2**20
"""Of a hidden state, a head or a latent vector."""

MAX_CONTEXT_TOKENS = 2**30
MAX_LISTED = 10_000

MAX_SIDE = 2**20


class ModelConfigError(SubmissionError):
    """A config.json does not say what it should; names the key."""


def number(
    config: Mapping[str, Any], keys: tuple[str, ...], most: int, default: int | None = None, *, least: int = 1
) -> int:
    """The first of `keys` that is there, and not null.

    Raises:
        ModelConfigError: it is no whole number from `least` to `most`; or none is there and there is no default.
    """
    key = next((each for each in keys if config.get(each) is not None), None)
    if key is None:
        if default is None:
            raise ModelConfigError(f"config.json has no {keys[0]}")
        return default
    value = config[key]
    if type(value) is not int or not least <= value <= most:
        # Anything else may be long, or deeper than can be shown.
        shown = clean(str(value), 60) if isinstance(value, str | int | float) else type(value).__name__
        raise ModelConfigError(f"config.json: {key} is {shown}, not a whole number from {least} to {most}")
    return value


def name(config: Mapping[str, Any], key: str) -> str | None:
    """A text that is there and says something; None else."""
    value = config.get(key)
    return clean(value, 60) if isinstance(value, str) and value else None


def side(config: Mapping[str, Any], *keys: str, most: int = MAX_SIDE) -> int:
    """The first of `keys` that is there; 0 where none is, or that is no whole number from 1 to `most`."""
    value = next((config[key] for key in keys if config.get(key) is not None), 0)
    return value if type(value) is int and 0 < value <= most else 0
