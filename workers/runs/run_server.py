"""The process that runs are forked from: `python -m workers.runs.run_server FOLDER`.

Importing lighteval takes many seconds of a core, which is longer than many a run. So it is done once, and each run is a
fork of the process that did: it begins at once, shares that memory, and still has a process of its own. Nothing is ever
run in the server itself, so that no run finds what an earlier one left.

It listens on a socket in its folder (`workers.runs.forked_run` is the other side). A connection is one run: it brings
an `Errand`, gets one byte, the exit status, when the run has ended, and ends the run when it is closed. Between server
and run stands a guard, as over everything that a worker starts (`workers.processes.guard`): a run leaves no process
behind.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from specs.model import Contract
from workers.processes import guard

SOCKET = "runs.sock"
MAX_ERRAND_BYTES = 2**20
COLLECTED_AFTER_OBJECTS = 10_000
"""Python's own is 700."""

_READ_SECONDS = 30.0
_NICENESS = 5


class Errand(Contract):
    """What a run needs to know before its order."""

    arguments: tuple[str, ...]
    """Of `workers.runs.runner.main`."""

    environment: dict[str, str]
    folder: str
    log: str
    """What it prints is appended to this file."""

    grace_seconds: float
    """Between the request to stop and SIGKILL."""


def listen(folder: Path) -> socket.socket:
    """The server's socket."""
    listener = socket.socket(socket.AF_UNIX)
    (folder / SOCKET).unlink(missing_ok=True)
    with short_path(folder) as path:
        listener.bind(path)
    listener.listen(64)
    return listener


class short_path:  # noqa: N801 - reads as what it gives
    """The path of a folder's socket for as long as the block lasts: those of sockets may have 107 bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        """Open the folder."""
        self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._handle}/{SOCKET}"

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self._handle)


def serve(listener: socket.socket, main: Callable[[list[str]], int]) -> NoReturn:
    """Fork a run for each connection, for ever."""
    # Guards are not waited for: whoever asked for a run is told of its end by the guard.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # What was imported is never collected, and so stays shared: https://docs.python.org/3/library/gc.html#gc.freeze
    gc.collect()
    gc.freeze()
    # An answer makes thousands of objects, and to look for garbage among them so often is a twelfth of a run's CPU.
    gc.set_threshold(COLLECTED_AFTER_OBJECTS)
    while True:
        connection, _ = listener.accept()
        try:
            errand = _read(connection)
        except (OSError, ValidationError) as error:
            sys.stderr.write(f"run server: no errand: {type(error).__name__}\n")
            connection.close()
            continue
        try:
            child = os.fork()
        except OSError as error:
            # No memory or no process for one more: that run does not begin, and those that go on are not to end for it.
            sys.stderr.write(f"run server: no run can be forked: {error}\n")
            child = None
        if child == 0:
            listener.close()
            _guard(connection, errand, main)
        connection.close()


def _read(connection: socket.socket) -> Errand:
    connection.settimeout(_READ_SECONDS)
    text = b""
    while not text.endswith(b"\n") and len(text) <= MAX_ERRAND_BYTES:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        text += more
    connection.settimeout(None)
    return Errand.model_validate_json(text)


def _guard(connection: socket.socket, errand: Errand, main: Callable[[list[str]], int]) -> NoReturn:
    """Stand over a run, as `workers.processes.guard` stands over a command."""
    status = 127
    try:
        guard.die_with_guard()
        # A signal for the server's process group is not meant for the run: the connection decides.
        os.setsid()
        # Where the guard looks whether it is still wanted.
        os.dup2(connection.fileno(), 0)
        log = os.open(errand.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(errand.folder)
        status = guard.run(errand.grace_seconds, lambda: _fork(connection, errand, main))
        connection.sendall(bytes([status]))
    except BaseException:  # noqa: BLE001 - nothing may go on in the server's place
        traceback.print_exc()
    finally:
        os._exit(status)


def _fork(connection: socket.socket, errand: Errand, main: Callable[[list[str]], int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        guard.begin_below_guard()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        connection.close()
        # What waits for an engine gives way to the engine, where they share cores.
        os.nice(_NICENESS)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.environ.clear()
        os.environ.update(errand.environment)
        status = main(list(errand.arguments))
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as an interpreter does at its top
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    # Before the import, so that whoever asks meanwhile waits in line.
    _listener = listen(Path(sys.argv[1]))

    from workers.runs import runner
    from workers.runs.late_imports import import_what_comes_late

    import_what_comes_late()
    serve(_listener, runner.main)
