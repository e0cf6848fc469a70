"""A worker's side of its run server (`workers.runs.run_server`): one server for the worker's life, and runs of it."""

from __future__ import annotations

import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from workers.engines.engine_faults import log_tail
from workers.errors import RunError
from workers.processes.guarded import Guarded, clean_environment
from workers.runs.run_server import SOCKET, Errand, short_path
from workers.snapshots.cache_room import PREPARED

_GRACE_SECONDS = 10.0
_LISTENS_SECONDS = 600.0
_LOOK_SECONDS = 0.05


class ForkedRun:
    """One run, as its worker sees it."""

    def __init__(self, connection: socket.socket, grace_seconds: float) -> None:
        self._connection = connection
        self._grace_seconds = grace_seconds
        self._status: int | None = None

    def poll(self) -> int | None:
        """The run's exit status, 128 plus the signal for a signal; None while it runs."""
        if self._status is None and select.select([self._connection], [], [], 0)[0]:
            self._read()
        return self._status

    def stop(self) -> None:
        """End the run and everything below it. Returns when all is gone; harmless when it already is."""
        if self._status is None:
            # Where that fails its guard is gone, and the run with it.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(self._grace_seconds + 30)
            self._read()
        self._connection.close()

    def _read(self) -> None:
        try:
            said = self._connection.recv(1)
        except OSError:
            said = b""
        # A guard that says nothing was killed, and its run with it.
        self._status = said[0] if said else 128 + signal.SIGKILL


class RunServer:
    """Runs for one worker, forked from one process, which is started when it is first wanted."""

    def __init__(self, folder: Path, cache_folder: Path) -> None:
        """`folder` is the server's own; datasets are cached in `cache_folder`."""
        self._folder = folder
        self._log = folder / "server.log"
        # Libraries read some of these when they are imported.
        self._environment = clean_environment(
            HF_HUB_OFFLINE="1",
            HF_DATASETS_OFFLINE="1",
            HF_DATASETS_DISABLE_PROGRESS_BARS="1",
            HF_HOME=str(cache_folder / "hf-home"),
            HF_DATASETS_CACHE=str(cache_folder / PREPARED),
            TOKENIZERS_PARALLELISM="false",
        )
        self._turn = threading.Lock()
        self._process: Guarded | None = None

    def begin(self) -> None:
        """Start the server, unless it is there: it then imports while nothing is wanted of it yet."""
        # Runs that go side by side begin side by side.
        with self._turn:
            if self._process is not None and self._process.poll() is None:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / SOCKET).unlink(missing_ok=True)
            self._process = Guarded(
                [sys.executable, "-m", "workers.runs.run_server", str(self._folder)],
                environment=self._environment,
                folder=self._folder,
                log=self._log,
                grace_seconds=_GRACE_SECONDS,
            )

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> ForkedRun:
        """Start a run in `folder`; it sees the server's environment and `environment`.

        Raises:
            RunError: there is no server, and none could be started.
        """
        errand = Errand(
            arguments=tuple(arguments),
            environment={**self._environment, **environment},
            folder=str(folder),
            log=str(log),
            grace_seconds=_GRACE_SECONDS,
        )
        connection = self._connect()
        connection.sendall(errand.model_dump_json().encode() + b"\n")
        return ForkedRun(connection, _GRACE_SECONDS)

    def log_tail(self) -> str:
        """The server's last words, cleaned."""
        return log_tail(self._log)

    def stop(self) -> None:
        """End the server with all its runs, if there is one."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + _LISTENS_SECONDS
        while True:
            # One that has just died is found out by the connection that it refuses.
            self.begin()
            connection = socket.socket(socket.AF_UNIX)
            try:
                with short_path(self._folder) as path:
                    connection.connect(path)
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise RunError(f"runs cannot be started: {error}\n{self.log_tail()}") from error
                time.sleep(_LOOK_SECONDS)
            else:
                return connection
