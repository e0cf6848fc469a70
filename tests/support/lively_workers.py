"""Workers in every state, for looking at their page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from scheduler.database.tables import Worker
from tests.support.rows import Rows, commit_id

GIB = 2**30
A100 = "1 × NVIDIA A100-SXM4-80GB"


class Told(NamedTuple):
    """What a worker said of itself. Memory is in GiB."""

    name: str
    pool: str
    state: str
    reason: str
    engine: dict[str, Any] | None
    hardware: str
    total: int
    free: int


def add_workers(rows: Rows, at: datetime, first: str, second: str) -> None:
    """Five workers, two of which have these models loaded."""
    foreign = "GPU 0 holds 61 GiB that no engine of ours has: process 40112"
    for told in (
        Told("gpu-a100-1@node-3", "a100", "busy", "", _engine(first, at, 9, 2841.0), A100, 80, 9),
        Told("gpu-a100-2@node-3", "a100", "busy", "", _engine(second, at, 52, 1204.5), A100, 80, 31),
        Told("gpu-a100-3@node-4", "a100", "quarantined", foreign, None, A100, 80, 19),
        Told("cpu-1@node-1", "cpu", "idle", "", None, "CPU x86_64, 16 cores", 62, 44),
        Told("gpu-l4-1@node-7", "l4", "lost", "said nothing for 4 minutes", None, "1 × NVIDIA L4", 24, 23),
    ):
        device = "memory" if told.pool == "cpu" else "cuda:0"
        rows.add(
            Worker(
                name=told.name,
                pool=told.pool,
                state=told.state,
                reason=told.reason,
                engine=told.engine,
                hardware=told.hardware,
                since=at - timedelta(minutes=41),
                seen_at=at - timedelta(seconds=260 if told.state == "lost" else 3),
                due_at=at + timedelta(minutes=5),
                memory=[
                    {
                        "device": device,
                        "total_bytes": told.total * GIB,
                        "free_bytes": told.free * GIB,
                        "health": None if told.pool == "cpu" else _health(told.free),
                    }
                ],
            )
        )


def _health(free: int) -> dict[str, Any]:
    """A GPU that works hard is warm, and one of them is held back."""
    return {"temperature_celsius": 84 - free, "uncorrected_errors": 0, "throttled": ["heat"] if free < 10 else []}


def _engine(model: str, at: datetime, minutes: float, tokens_per_second: float) -> dict[str, Any]:
    started_at = (at - timedelta(minutes=minutes)).isoformat()
    return {
        "model": model,
        "revision": commit_id(),
        "started_at": started_at,
        "tokens_per_second": tokens_per_second,
    }
