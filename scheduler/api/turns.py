"""Answers that take a second of CPU, one at a time: a run's trace, a claim's plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from scheduler.api.problems import Busy

WAITING = 4
WAIT_SECONDS = 3.0
"""So many wait for their turn, and no longer: each keeps a thread, and some a connection to the database."""

_turn, _places = Lock(), BoundedSemaphore(1 + WAITING)


@contextmanager
def one_at_a_time(busy: Busy) -> Iterator[None]:
    """Whoever asks for one after another keeps a core at most from everybody else, whatever of these they ask for.

    Raises:
        Busy: `busy`, where its turn does not come soon.
    """
    if not _places.acquire(blocking=False):
        raise busy
    try:
        if not _turn.acquire(timeout=WAIT_SECONDS):
            raise busy
        try:
            yield
        finally:
            _turn.release()
    finally:
        _places.release()
