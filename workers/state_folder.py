"""A state folder is one worker's own: two on one would lose each other's batches."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO

from specs.errors import PolicyError

MAIN, CHILD = "main-lock", "lock"
"""What Celery's main process holds of it, and the one that runs batches."""

_PATIENCE_SECONDS = 10.0
"""For a predecessor that was killed to be gone with all its processes."""


def held(state: Path, name: str) -> IO[bytes]:
    """A lock on the folder, for as long as the file is open.

    Raises:
        PolicyError: another worker uses it.
    """
    state.mkdir(parents=True, exist_ok=True)
    lock = (state / name).open("ab")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                lock.close()
                raise PolicyError(
                    f"another worker uses {state}; every worker needs a state_folder of its own"
                ) from error
            time.sleep(0.1)
        else:
            return lock
