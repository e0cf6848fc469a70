"""A download that an order waits for only as long as it is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from specs.errors import HubAway

LOOK_SECONDS = 0.5

T = TypeVar("T")


def fetched(fetch: Callable[[], T], wait: Callable[[], None], until: float) -> T:
    """What `fetch` returns, or raises; `wait` is called every half second until then, and what it raises ends the wait.

    The Hub's client cannot be told to stop. A download that nobody waits for goes on in its thread, for as long as the
    worker lives: it goes to the cache, where the next one who wants it finds what there is.

    Raises:
        HubAway: it is not there by `until`, by `time.monotonic`. A connection may trickle, or hang, for ever.
    """
    found: list[T] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def work() -> None:
        try:
            found.append(fetch())
        except BaseException as error:  # noqa: BLE001 - raised again below, by the thread that waits
            failed.append(error)
        finally:
            over.set()

    # In a copy of this thread's context, which says for the log what it is about.
    threading.Thread(target=copy_context().run, args=(work,), name="fetching", daemon=True).start()
    while not over.wait(LOOK_SECONDS):
        wait()
        if time.monotonic() > until:
            raise HubAway("what the run needs did not come from the Hub in all the time that a run may take")
    if failed:
        raise failed[0]
    return found[0]
