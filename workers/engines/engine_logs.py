"""A log for each engine: one that sleeps goes on writing to its own, and nobody takes another's words for its."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

KEPT = 8
"""Besides those of engines that are there."""


def new_log(folder: Path, in_use: Collection[Path]) -> Path:
    """The file for the log of an engine that is about to start; the oldest of those not `in_use` give way."""
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted((file for file in logs(folder) if file not in in_use), key=lambda file: file.stat().st_mtime)
    for file in others[: max(0, len(others) - KEPT + 1)]:
        file.unlink(missing_ok=True)
    log = folder / f"engine-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.log"
    log.touch()
    return log


def logs(folder: Path) -> list[Path]:
    """Those that there are, from first to last."""
    return sorted(folder.glob("engine-*.log"))
