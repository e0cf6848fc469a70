"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deploy.farm.processes import Processes

PATIENCE_SECONDS = 60.0
"""So long that only what never comes takes longer, however busy the machine."""

PROCESS_PATIENCE_SECONDS = 600.0
"""The same for what processes do, which first read libraries that are large."""

T = TypeVar("T")


def until(
    is_so: Callable[[], T],
    said: Callable[[], str] = lambda: "it never came",
    patience_seconds: float = PATIENCE_SECONDS,
    look_seconds: float = 0.05,
) -> T:
    """Return what is so as soon as it is.

    Args:
        is_so: Looked at again and again.
        said: What to show where it never was.
        patience_seconds: How long it is waited for.
        look_seconds: Between two looks.

    Raises:
        AssertionError: it was not in that time.
    """
    deadline = time.monotonic() + patience_seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, said()
        time.sleep(look_seconds)
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended: what was not collected yet does nothing any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def log_ends(processes: Processes) -> str:
    """What each of them said last."""
    return "\n".join(log.path.read_text()[-3000:] for log in processes.logs)
