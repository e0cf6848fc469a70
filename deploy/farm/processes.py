"""Starts the farm's processes, notices when one ends, and stops them all.

Each runs under a guard of its own (workers/processes/guard.py), which ends the process with everything below it when
this process ends, even by SIGKILL. Honcho, which runs Procfiles, does not fit: its processes survive a `kill -9` of the
manager, and its loop wants the main thread, which the demo needs for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.farm.errors import FarmError, ProcessEnded
from deploy.farm.logs import Log
from workers.processes.guarded import Guarded

GRACE_SECONDS = 6.0
"""Between the request to stop and SIGKILL, unless said otherwise. Nothing is lost even so: leases run out."""

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Process:
    """What to run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    """All that the process gets to see."""

    grace_seconds: float = GRACE_SECONDS
    """Between the request to stop and SIGKILL."""


class Processes:
    """The running processes of one farm."""

    def __init__(self, folder: Path, logs: Path) -> None:
        """Processes run in `folder` and write `logs`/NAME.log."""
        self._folder = folder
        self._log_folder = logs
        self._running: dict[str, Guarded] = {}
        self._logs: dict[str, Log] = {}

    @property
    def logs(self) -> list[Log]:
        """The logs of all that were started, those that have ended included."""
        return list(self._logs.values())

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name; each is a guard's, and SIGTERM to it ends the process."""
        return {name: guarded.pid for name, guarded in self._running.items()}

    def start(self, process: Process) -> None:
        """Start one more. That it is started does not mean that it is ready."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = Log.fresh(process.name, self._log_folder)
        self._logs[process.name] = log
        self._running[process.name] = Guarded(
            process.command,
            environment=process.environment,
            folder=self._folder,
            log=log.path,
            grace_seconds=process.grace_seconds,
        )

    def check(self) -> None:
        """See that all run.

        Raises:
            ProcessEnded: one has ended by itself.
        """
        for name, guarded in self._running.items():
            status = guarded.poll()
            if status is not None:
                raise ProcessEnded(self._logs[name], status)

    def wait_until(self, what: str, is_so: Callable[[], bool], seconds: float) -> None:
        """Wait for something that the processes bring about.

        Raises:
            ProcessEnded: one has ended, meanwhile or by the time it is so.
            FarmError: it is not so after that many seconds.
        """
        deadline = time.monotonic() + seconds
        while not is_so():
            self.check()
            if time.monotonic() > deadline:
                raise FarmError(f"{what} is not there after {seconds:.0f} s; see the logs in {self._log_folder}")
            time.sleep(POLL_SECONDS)
        # What answers may be a stranger, in the place that a process of ours could not take.
        self.check()

    def stop(self, *names: str) -> None:
        """Stop these (all, where none is named), at once and within seconds. Harmless for those that have ended."""
        chosen = [self._running.pop(name) for name in names or list(self._running)]
        if chosen:
            with ThreadPoolExecutor(len(chosen)) as pool:
                list(pool.map(Guarded.stop, chosen))
