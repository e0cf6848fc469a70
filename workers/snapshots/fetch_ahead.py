"""What a worker will need next is fetched while it still runs something else.

The control plane names a model and tasks, as a hint (`specs.messages.FetchAhead`): nothing depends on it. Celery's main
process starts a process of low priority for it, one at a time, which ends with the worker. It downloads into the cache
that runs use, where the Hub's client locks every file: a run that needs one that is on its way waits for it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from specs.errors import ReprofarmError
from specs.messages import FetchAhead
from specs.processes.secrets import mask_logs
from workers.processes.guarded import Guarded, from_anywhere
from workers.settings import PREFIX, WorkerSettings, read_settings
from workers.snapshots.cache_space import cache_space
from workers.snapshots.fetch import Snapshots

LEFT_FREE_PART = 0.2
"""Of the cache folder's disk: a hint is not followed where less would be left, whatever gives way to it."""

_NICENESS = 10
"""Behind engines and runs; further behind, its imports would take minutes on a machine that is busy throughout."""

_GRACE_SECONDS = 2.0
_log = logging.getLogger(__name__)


class AheadFetcher:
    """Follows hints one at a time; one that comes while another is followed is forgotten."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        # Reentrant: a signal handler may stop what the same thread is about to begin.
        self._lock = threading.RLock()
        self._process: Guarded | None = None
        self._over = False

    def follow(self, hint: FetchAhead) -> bool:
        """Begin to fetch; whether it did."""
        with self._lock:
            if self._over or (self._process is not None and self._process.poll() is None):
                return False
            folder = self._settings.state_folder
            folder.mkdir(parents=True, exist_ok=True)
            # Our own code with the worker's own rights: it needs the worker's settings and its token. Its folder is
            # another one, where relative paths lead elsewhere.
            environment = from_anywhere(os.environ) | {f"{PREFIX}CACHE_FOLDER": str(self._settings.cache_folder)}
            self._process = Guarded(
                [sys.executable, "-m", "workers.snapshots.fetch_ahead", hint.model_dump_json()],
                environment=environment,
                folder=folder,
                log=folder / "fetch_ahead.log",
                grace_seconds=_GRACE_SECONDS,
            )
            return True

    def stop(self) -> None:
        """The worker stops: end what goes on, begin nothing more. Another time goes on with the files that arrived."""
        with self._lock:
            self._over = True
            if self._process is not None and self._process.poll() is None:
                # Not by closing its input alone: a child that was forked since holds that open too.
                os.kill(self._process.pid, signal.SIGTERM)
                self._process.stop()


def fetch_ahead(snapshots: Snapshots, hint: FetchAhead) -> None:
    """Fetch what is named, as far as it can be had and there is room."""
    try:
        snapshots.model(hint.model)
        for task in hint.tasks:
            snapshots.dataset(task)
    except ReprofarmError as error:
        # Whoever needs it will meet the same, and report it.
        _log.warning("not fetched ahead: %s", error)


def main(arguments: list[str]) -> int:
    """Follow the hint that is the argument."""
    os.nice(_NICENESS)
    settings = read_settings()
    mask_logs(settings.secrets)
    logging.basicConfig(level=logging.WARNING)
    settings.cache_folder.mkdir(parents=True, exist_ok=True)
    left_free = int(LEFT_FREE_PART * cache_space(settings.cache_folder, settings.cache_size).total)
    fetch_ahead(Snapshots.of(settings, left_free), FetchAhead.model_validate_json(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
