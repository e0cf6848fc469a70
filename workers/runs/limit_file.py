"""How many requests a run may have in flight, as its worker last said: a file in the run's folder."""

from __future__ import annotations

from pathlib import Path

from specs.processes.atomic_write import write_atomically

_LIMIT_FILE = "limit"


def write_limit(folder: Path, limit: int) -> None:
    """Tell the run in `folder`."""
    write_atomically(folder / _LIMIT_FILE, str(limit))


def read_limit(folder: Path) -> int | None:
    """What the worker said; None before the first word."""
    try:
        return max(1, int((folder / _LIMIT_FILE).read_text()))
    except (OSError, ValueError):
        return None
