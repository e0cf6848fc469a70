"""The engine of a batch, for orders that run on it side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from specs.messages import RunBatch
from workers.batches.fetching import LOOK_SECONDS, fetched
from workers.batches.workbench import Workbench
from workers.engines.engine import Engine
from workers.errors import Dropped, ToldToStop


class SharedEngine:
    """Fetches the model and starts the engine once, whoever of several threads needs it first."""

    def __init__(self, batch: RunBatch, bench: Workbench) -> None:
        self._batch = batch
        self._bench = bench
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._users = 0
        self._hangs = False
        self._fault: Exception | None = None

    @contextmanager
    def used(
        self, wait: Callable[[], None], fetching: Callable[[], None], starting: Callable[[], None], until: float
    ) -> Iterator[tuple[Path, Engine, float]]:
        """The model's snapshot and an engine for it, for as long as the block lasts.

        And for how many seconds runs on a suspect engine were waited for, which is nothing of this use's own time.

        `wait` is called every half second while others have their turn, `fetching` while the model is fetched, and
        `starting` while the engine starts and once before. What they raise ends this use alone; what else goes wrong
        goes wrong for the whole batch, such as a model that is not fetched by `until` (by `time.monotonic`).
        """
        others = 0.0
        while not self._turn.acquire(timeout=LOOK_SECONDS):
            # Whoever has the turn waits for them meanwhile.
            others += LOOK_SECONDS if self._awaits_others() else 0.0
            wait()
        try:
            began = time.monotonic()
            while self._awaits_others():
                wait()
                time.sleep(LOOK_SECONDS)
            others += time.monotonic() - began
            snapshot, engine = self._ready(fetching, starting, until + others)
            self._count(1)
        finally:
            self._turn.release()
        try:
            yield snapshot, engine, others
        finally:
            self._count(-1)

    def suspect(self) -> None:
        """A run got no answer, so it may be the engine that hangs: nobody begins on it, and it ends with its runs.

        Those that get answers go on; if it is the engine, they stall by themselves.
        """
        self._hangs = True

    def _awaits_others(self) -> bool:
        return self._hangs and self._users > 0 and self._fault is None

    def close(self) -> None:
        """The batch is over; the engine stays warm, unless it is suspect."""
        if self._hangs:
            self._hangs = False
            self._bench.engines.discard()

    def _ready(self, fetching: Callable[[], None], starting: Callable[[], None], until: float) -> tuple[Path, Engine]:
        if self._fault is not None:
            raise self._fault
        self.close()
        batch = self._batch
        try:
            snapshot = fetched(partial(self._bench.snapshots.model, batch.model), fetching, until)
            starting()
            engine = self._bench.engines.engine_for(batch.model, snapshot, batch.engine, batch.gpus, starting)
        except (Dropped, ToldToStop):
            raise
        except Exception as error:
            self._fault = error
            raise
        return snapshot, engine

    def _count(self, more: int) -> None:
        with self._counting:
            self._users += more
