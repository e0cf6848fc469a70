"""A worker that is told to stop hands its batch back within a grace time.

Celery's main process learns of it, by a signal, while its child runs a batch; the child looks for a file, as it does
for dropped attempts (workers/batches/dropped_attempts.py).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from specs.messages import AttemptOutcome, RunBatch
from workers.batches.messenger import Messenger
from workers.batches.order_end import Ended, failure, report_of
from workers.errors import ToldToStop
from workers.processes.background_thread import background_thread

LOOK_SECONDS = 0.5
_RUN_SHARE = 0.6
"""Of the grace time, for the run to end and close its log; the rest is for storing and reporting that."""


def hand_back_whole(batch: RunBatch, worker: str, messenger: Messenger, error: Exception) -> None:
    """Hand back a batch that this worker cannot even begin, and say why.

    That is no failure of its orders, which another worker may run. Unsaid, they would wait until they are found lost,
    and then most likely be taken by this worker again, which has nothing to do.
    """
    ended = Ended(AttemptOutcome.HANDED_BACK, f"it can begin nothing: {failure(error).detail}")
    for order in batch.orders:
        messenger.report(report_of(order, batch, worker, ended))


class StopMark:
    """A file that says that the worker was told to stop."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def set(self) -> None:
        """The worker was told to stop."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()

    def clear(self) -> None:
        """A new worker starts; what its predecessor was told is nothing to it."""
        self._file.unlink(missing_ok=True)

    def is_set(self) -> bool:
        """Whether the worker was told to stop."""
        return self._file.exists()


class HandingBack:
    """For one batch: whether it is to be handed back, and by when. Times are those of `time.monotonic`."""

    def __init__(self, mark: StopMark, grace_seconds: float) -> None:
        self._mark = mark
        self._grace_seconds = grace_seconds
        self._noticed: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether the worker was told to stop."""
        if self._noticed is None and self._mark.is_set():
            self._noticed = time.monotonic()
        return self._noticed is not None

    @property
    def seconds_left(self) -> float:
        """Until the batch is handed back as it is; without end where the worker was not told to stop."""
        if not self.is_due or self._noticed is None:
            return math.inf
        return self._noticed + self._grace_seconds - time.monotonic()

    def check(self) -> None:
        """Go on.

        Raises:
            ToldToStop: the worker was told to stop.
        """
        if self.is_due and self._noticed is not None:
            raise ToldToStop(self._noticed + _RUN_SHARE * self._grace_seconds)

    @contextmanager
    def at_the_latest(self, give_back: Callable[[], None]) -> Iterator[None]:
        """Have `give_back` called, from another thread, when the grace time is over and the block still goes on.

        A download or an upload may keep the batch from looking for as long as it takes.
        """

        def watch(over: threading.Event) -> None:
            while not over.wait(LOOK_SECONDS):
                if self.is_due and self._noticed is not None:
                    if not over.wait(self.seconds_left):
                        give_back()
                    return

        with background_thread("handing-back", watch):
            yield
