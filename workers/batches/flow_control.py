"""Flow control: how many requests each run of a batch may have in flight, which keeps the engine full and no more.

The engine runs up to `engine.concurrency` sequences at once, if its KV cache holds them; what it cannot run it keeps
waiting, or runs and throws away again. A few that wait are wanted: an answer's place is taken in the engine's next
step, where a run that is told of the answer, scores it and asks the next question comes too late for that. Inspect's
own controller of connections looks for refusals (429) that vLLM does not send. So the worker looks at what the engine
says is waiting, and gives each run its share through the limits that Inspect lets be changed while it runs
(workers/runs/limits.py).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.engines.engine_metrics import EngineFigures, engine_figures
from workers.runs.limit_file import write_limit
from workers.runs.run_request import RunProgress

LOOK_SECONDS = 2.0
"""Between two looks at the engine."""

_GROWTH = 1 / 16
"""Of what the engine runs at once, added at each look at which too few wait."""

_AHEAD = 4
"""One for so many that the engine runs at once is to wait there."""


def first_limit(most: int) -> int:
    """Requests in flight at once before anything is known of an engine that runs `most` at once."""
    return most + most // _AHEAD


def next_limit(limit: int, most: int, before: EngineFigures | None, now: EngineFigures | None) -> int:
    """Requests in flight at once, after two looks at an engine that runs `most`.

    What waits at one look alone has just arrived. Of what waits at both, all but what is meant to does not fit. An
    engine that does not say is too busy to, or has no such figures; it is asked for no more than before.
    """
    if now is None or now.waiting is None or before is None or before.waiting is None:
        return limit
    ahead = most // _AHEAD
    too_many = min(before.waiting, now.waiting) - ahead
    if too_many > 0:
        return max(1, limit - math.ceil(too_many))
    grows = now.waiting < ahead or now.waiting == 0
    return min(first_limit(most), limit + math.ceil(most * _GROWTH)) if grows else limit


def shares(limit: int, left: Sequence[int | None]) -> list[int]:
    """What each run may have in flight of `limit`, by how many answers it has left (None: not known yet).

    Alike, but none more than it can use, so that the end of one run is filled by another; the one with most left takes
    what remains. One at least, however low the limit is.
    """
    found = [0] * len(left)
    by_need = sorted(range(len(left)), key=lambda run: (left[run] is None, left[run] or 0))
    room = limit
    for place, run in enumerate(by_need):
        fair = room // (len(left) - place)
        wants = left[run]
        is_last = place == len(left) - 1
        found[run] = max(1, fair if wants is None or is_last else min(fair, wants))
        room = max(0, room - found[run])
    return found


@dataclass
class _Run:
    folder: Path
    left: int | None = None
    share: int = 0
    began: float = 0.0
    counted_to: float = 0.0
    engine_seconds: float = 0.0
    """Of the engine's time: that of each moment is divided among the runs of that moment."""


class FlowControl:
    """The runs of a batch that are on its engine now. Each is told of by a thread of its own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = first_limit(most)
        self._before: EngineFigures | None = None
        self._looked_at = 0.0
        self._lock = threading.Lock()
        self._runs: dict[Path, _Run] = {}

    @contextmanager
    def joined(self, folder: Path) -> Iterator[int]:
        """A run in `folder` uses the engine for as long as the block lasts; yields its first share."""
        with self._lock:
            self._count_time()
            now = time.monotonic()
            self._runs[folder] = _Run(folder, began=now, counted_to=now)
            self._share_out()
            first = self._runs[folder].share
        try:
            yield first
        finally:
            with self._lock:
                self._count_time()
                del self._runs[folder]
                self._share_out()

    def told(self, folder: Path, progress: RunProgress | None, base_url: str) -> None:
        """How far a run is; looks at the engine now and then, and changes shares."""
        with self._lock:
            due = time.monotonic() - self._looked_at >= LOOK_SECONDS
            if due:
                self._looked_at = time.monotonic()
        figures = engine_figures(base_url) if due else None
        with self._lock:
            if due:
                self._limit = next_limit(self._limit, self._most, self._before, figures)
                self._before = figures
            if progress is not None and folder in self._runs:
                self._runs[folder].left = progress.left
            self._share_out()

    def engine_share(self, folder: Path) -> float:
        """The part of the engine's time that a run had so far, in (0, 1]: 1 where no other ran beside it."""
        with self._lock:
            self._count_time()
            run = self._runs[folder]
            took = run.counted_to - run.began
            return min(1.0, run.engine_seconds / took) if took > 0 else 1.0

    def _count_time(self) -> None:
        now = time.monotonic()
        for run in self._runs.values():
            run.engine_seconds += (now - run.counted_to) / len(self._runs)
            run.counted_to = now

    def _share_out(self) -> None:
        runs = list(self._runs.values())
        for run, share in zip(runs, shares(self._limit, [run.left for run in runs]), strict=True):
            if share != run.share:
                run.share = share
                write_limit(run.folder, share)
