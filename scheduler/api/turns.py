"""Answers that take a second of CPU, one at a time of each kind: a run's trace, a claim's plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from scheduler.api.problems import Busy

WAITING = 4
WAIT_SECONDS = 3.0
"""So many wait for their turn, and no longer: each keeps a thread, and some a connection to the database."""


class Turns:
    """One caller computes at a time; each caller holds one place in the line at most."""

    def __init__(self, busy: type[Busy], told: str) -> None:
        """`told` says in the `busy` of those who are to come back what others are told meanwhile."""
        self._busy = busy
        self._told = told
        self._turn, self._lock = Lock(), Lock()
        self._waiting: set[str] = set()

    @contextmanager
    def turn_of(self, who: str) -> Iterator[None]:
        """The turn of one caller, by what they are counted as.

        Raises:
            Busy: of the kind that was given, where it does not come soon, or as another of theirs waits for it.
        """
        if not self._turn.acquire(blocking=False):
            self._wait(who)
        try:
            yield
        finally:
            self._turn.release()

    def _wait(self, who: str) -> None:
        with self._lock:
            if who in self._waiting:
                raise self._busy("one of you waits for this already, which is all that one caller, or address, may")
            if len(self._waiting) >= WAITING:
                raise self._others()
            self._waiting.add(who)
        try:
            if not self._turn.acquire(timeout=WAIT_SECONDS):
                raise self._others()
        finally:
            with self._lock:
                self._waiting.remove(who)

    def _others(self) -> Busy:
        return self._busy(f"others are told {self._told}, one at a time; come back")
