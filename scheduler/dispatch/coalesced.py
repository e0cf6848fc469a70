"""Coalesced calls: one run for all who ask for it meanwhile, for what looks at the whole database each time."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Coalesced:
    """A piece of work that one thread of this process does at a time, and that anybody may ask for."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._running = self._wanted = False

    def __call__(self) -> None:
        """Have it done with all that is committed by now: by this thread, or by the one that is at it."""
        with self._lock:
            self._wanted = True
            if self._running:
                return
            self._running = True
        try:
            while self._take():
                self._work()
        except BaseException:
            with self._lock:
                # Whoever asked meanwhile waits for the next to ask: it would most likely fail them too.
                self._running = self._wanted = False
            raise

    def _take(self) -> bool:
        with self._lock:
            wanted, self._wanted = self._wanted, False
            self._running = wanted
            return wanted
