"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60.0
"""So long that only what never comes takes longer, however busy the machine."""


def until(
    is_so: Callable[[], object],
    said: Callable[[], str] = lambda: "it never came",
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Return as soon as something is so.

    Args:
        is_so: Looked at twenty times a second.
        said: What to show where it never was.
        patience_seconds: How long it is waited for.

    Raises:
        AssertionError: it was not in that time.
    """
    deadline = time.monotonic() + patience_seconds
    while not is_so():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)
