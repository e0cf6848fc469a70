"""A worker's side of a fork server (`workers.processes.fork_server`): one for the worker's life, and its forks."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from workers.processes.fork_server import PID, SOCKET, Errand, short_path
from workers.processes.guarded import Guarded
from workers.processes.orphans import Remains

_LOOK_SECONDS = 0.05
_SERVER_GRACE_SECONDS = 10.0
_LISTENS_SECONDS = 600.0
"""A server listens before it imports what takes long."""


class NoServerError(Exception):
    """A fork server does not come up."""


class Forked:
    """One errand, as its worker sees it: what `Guarded` is to a command."""

    def __init__(self, connection: socket.socket, grace_seconds: float, remains: Remains) -> None:
        self._connection = connection
        self._grace_seconds = grace_seconds
        self._remains = remains
        self._status: int | None = None
        self.pid: int | None = None
        """The guard's; None until it is there, which `poll` finds out. A server that is young imports first."""

    @property
    def mark(self) -> str:
        """In the environment of every process below that was not itself forked: workers/processes/orphans.py."""
        return self._remains.mark

    def poll(self) -> int | None:
        """The exit status, 128 plus the signal for a signal; None while it runs."""
        if self.pid is None and self._said_something():
            self._hear_of_its_begin()
        if self._status is None and self._said_something():
            self._hear_of_its_end()
        return self._status

    def wait(self, seconds: float) -> int | None:
        """The same as soon as it has ended, or after so long."""
        until = time.monotonic() + seconds
        while self.poll() is None and (left := until - time.monotonic()) > 0:
            self._said_something(left)
        return self._status

    def stop(self) -> None:
        """End it with everything below it. Returns when all is gone; harmless when it already is."""
        if self._status is None:
            # Where that fails its guard is gone.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(self._grace_seconds + 30)
            if self.pid is None:
                self._hear_of_its_begin()
        if self._status is None:
            self._hear_of_its_end()
        self._connection.close()

    def _said_something(self, within_seconds: float = 0.0) -> bool:
        return bool(select.select([self._connection], [], [], within_seconds)[0])

    def _hear_of_its_begin(self) -> None:
        said = self._receive(PID.size)
        if len(said) == PID.size:
            (self.pid,) = PID.unpack(said)
        else:
            self._was_killed()

    def _hear_of_its_end(self) -> None:
        said = self._receive(1)
        if said:
            self._status = said[0]
        else:
            self._was_killed()

    def _receive(self, size: int) -> bytes:
        try:
            return self._connection.recv(size, socket.MSG_WAITALL)
        except TimeoutError:
            # Something below hangs in the kernel. SIGKILL to the guard takes the direct child with it.
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
        except OSError:
            pass  # Nobody is there any more.
        return b""

    def _was_killed(self) -> None:
        """It says nothing any more: its guard was killed, and its direct child with it."""
        self._status = 128 + signal.SIGKILL
        self._remains.end()


class ForkServer:
    """What forks come from, started when it is first wanted, and again should it have died."""

    def __init__(self, module: str, folder: Path, environment: Mapping[str, str]) -> None:
        """`module` is run with `folder`, where it listens; libraries read `environment` when they are imported."""
        self._module = module
        self._folder = folder.absolute()
        self.log = folder / "server.log"
        self._environment = dict(environment)
        self._turn = threading.Lock()
        self._process: Guarded | None = None

    def begin(self) -> None:
        """Start it, unless it is there: it then imports while nothing is wanted of it yet."""
        # Forks that are wanted side by side are asked for side by side.
        with self._turn:
            if self._process is not None and self._process.poll() is None:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / SOCKET).unlink(missing_ok=True)
            self._process = Guarded(
                [sys.executable, "-m", self._module, str(self._folder)],
                environment=self._environment,
                folder=self._folder,
                log=self.log,
                grace_seconds=_SERVER_GRACE_SECONDS,
            )

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        *,
        grace_seconds: float,
        own_temporary: bool = False,
    ) -> Forked:
        """Start an errand in `folder`; it sees the server's environment and `environment`, and prints to `log`.

        `grace_seconds` is the time between the request to stop and SIGKILL. With `own_temporary` its temporary files
        go to a folder of their own, and with it.

        Raises:
            NoServerError: the server does not come up.
        """
        connection = self._connect()
        remains = Remains.of(self._folder, own_temporary=own_temporary)
        errand = Errand(
            arguments=tuple(arguments),
            environment={**self._environment, **environment, **remains.variables()},
            folder=str(folder),
            log=str(log),
            grace_seconds=grace_seconds,
            temporary=remains.temporary,
        )
        with suppress(OSError):  # It is gone again, which the first look finds out.
            connection.sendall(errand.model_dump_json().encode() + b"\n")
        return Forked(connection, grace_seconds, remains)

    def stop(self) -> None:
        """End the server with all that was forked from it, if there is one. Whoever wants a fork then gets another."""
        with self._turn:
            if self._process is not None:
                self._process.stop()
                self._process = None

    def _connect(self) -> socket.socket:
        self.begin()
        deadline = time.monotonic() + _LISTENS_SECONDS
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                with short_path(self._folder) as path:
                    connection.connect(path)
            except OSError as error:
                connection.close()
                if self._has_ended() and not (self._folder / SOCKET).exists():
                    # Before it listened, and it would again.
                    raise NoServerError(f"{self._module} does not come up") from error
                if time.monotonic() > deadline:
                    self.stop()
                    raise NoServerError(f"{self._module} does not listen after {_LISTENS_SECONDS:.0f} s") from error
                # It has ended since it was begun, or was ended by another thread for which it was too slow.
                self.begin()
                time.sleep(_LOOK_SECONDS)
            else:
                return connection

    def _has_ended(self) -> bool:
        with self._turn:
            return self._process is not None and self._process.poll() is not None
