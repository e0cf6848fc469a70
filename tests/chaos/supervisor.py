"""Restarts what ends, as systemd or Kubernetes would, and does nothing else for the farm.

Each process runs under the farm's guard (workers/processes/guard.py): a death takes the process's whole tree along, as
that of a container does, and nothing is left when the tests end, however they end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.farm.processes import Process
from workers.processes.guarded import Guarded

RESTART_SECONDS = 1.0
"""Between a death and the next start, as with systemd's RestartSec=1."""

GRACE_SECONDS = 3.0
PATIENCE_SECONDS = 60.0


class Supervisor:
    """Keeps processes running until it is closed."""

    def __init__(self, folder: Path) -> None:
        """They run in `folder`, and write `folder`/logs/NAME.log, all their lives into the same file."""
        self._folder = folder
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, Process] = {}
        self._running: dict[str, Guarded] = {}
        self._before_start: dict[str, Callable[[], None]] = {}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._watch = threading.Thread(target=self._keep_running, name="supervisor", daemon=True)
        self._watch.start()
        self.starts: dict[str, int] = {}
        """How often each was started."""

    def start(self, process: Process) -> None:
        """Start one, and from now on whenever it has ended."""
        with self._lock:
            self._processes[process.name] = process
            self._start(process)

    def log(self, name: str) -> str:
        """What a process wrote so far."""
        return (self._folder / "logs" / f"{name}.log").read_text(errors="replace")

    def main(self, name: str) -> psutil.Process:
        """The process itself, not its guard."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                return psutil.Process(self._running[name].pid).children()[0]
            except (IndexError, psutil.NoSuchProcess):
                time.sleep(0.05)
        raise TimeoutError(f"{name} does not run: {self.log(name)[-2000:]}")

    def family(self, name: str) -> list[psutil.Process]:
        """It and all below it, eldest first."""
        main = self.main(name)
        return [main, *main.children(recursive=True)]

    def kill(self, name: str, before_restart: Callable[[], None] | None = None) -> None:
        """SIGKILL; it comes back after `before_restart`, if that is given."""
        if before_restart is not None:
            self._before_start[name] = before_restart
        os.kill(self.main(name).pid, signal.SIGKILL)

    def close(self, *last: str) -> None:
        """Stop them all, these after the others."""
        self._closing.set()
        self._watch.join()
        for name in sorted(self._running, key=lambda each: each in last):
            with suppress(psutil.NoSuchProcess):
                # One that is stopped does not hear that it should end.
                signal_all(psutil.Process(self._running[name].pid).children(recursive=True), signal.SIGCONT)
            self._running[name].stop()

    def _start(self, process: Process) -> None:
        self.starts[process.name] = self.starts.get(process.name, 0) + 1
        self._running[process.name] = Guarded(
            process.command,
            environment=process.environment,
            folder=self._folder,
            log=self._folder / "logs" / f"{process.name}.log",
            grace_seconds=GRACE_SECONDS,
        )

    def _keep_running(self) -> None:
        while not self._closing.wait(0.1):
            with self._lock:
                ended = [name for name, guarded in self._running.items() if guarded.poll() is not None]
            for name in ended:
                if self._closing.wait(RESTART_SECONDS):
                    return
                self._before_start.pop(name, lambda: None)()
                with self._lock:
                    self._start(self._processes[name])


def signal_all(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to those that are still there: SIGSTOP and SIGCONT are a machine that freezes and thaws."""
    for each in processes:
        try:
            each.send_signal(number)
        except psutil.NoSuchProcess:
            continue
