"""How a worker has a run end gently: a file in its folder, upon which Inspect is interrupted as by Ctrl-C.

Inspect then cancels what is in flight, and writes a whole log of status `cancelled` with every answer that it has.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.processes.background_thread import background_thread

STOP_FILE = "stop"
"""In the run's folder."""

_LOOK_SECONDS = 0.2


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the main thread, which must be the caller, once the file is there."""
    # Celery's children ignore the signal, and what they start inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.get_ident()

    def watch(over: threading.Event) -> None:
        while not over.wait(_LOOK_SECONDS):
            if (folder / STOP_FILE).exists():
                signal.pthread_kill(main, signal.SIGINT)
                return

    try:
        with background_thread("interrupting", watch):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
