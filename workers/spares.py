"""Processes that wait for their order: importing lighteval takes longer than many a run."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable

from workers.run_process import RunProcess


class Spares:
    """Run processes that were started ahead."""

    def __init__(self, start: Callable[[], RunProcess]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._waiting: list[RunProcess] = []

    def prepare(self, count: int) -> None:
        """Have so many at least."""
        with self._lock:
            while len(self._waiting) < count:
                self._waiting.append(self._start())

    def take(self) -> RunProcess:
        """One of them, or a new one."""
        with self._lock:
            return self._waiting.pop(0) if self._waiting else self._start()

    def stop(self) -> None:
        """End those that nobody took."""
        with self._lock:
            for process in self._waiting:
                process.stop()
                shutil.rmtree(process.folder, ignore_errors=True)
            self._waiting.clear()
