"""A process that has imported what takes long, and forks itself for each errand.

An import of many seconds is done once; each errand is a fork of the process that did it: it begins at once, shares that
memory, and still has a process of its own. Nothing is ever done in the server itself, so that no errand finds what an
earlier one left.

The server listens on a socket in its folder (`workers.processes.forked` is the other side). A connection is one errand:
it brings an `Errand`, gets the process id of the guard (`PID`) and, when the errand has ended, one byte, its exit
status; when it is closed the errand is ended. Between server and errand stands a guard, as over everything that a
worker starts (`workers.processes.guard`): an errand leaves no process behind.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from specs.contract import Contract
from workers.processes import guard

SOCKET = "fork.sock"
MAX_ERRAND_BYTES = 2**20
PID = struct.Struct("!I")

_READ_SECONDS = 30.0


class Errand(Contract):
    """What a fork is to do."""

    arguments: tuple[str, ...]
    """Of the server's `main`."""

    environment: dict[str, str]
    """All of it: nothing of the server's is left."""

    folder: str
    log: str
    """What it prints is appended to this file."""

    grace_seconds: float
    """Between the request to stop and SIGKILL."""

    temporary: str
    """A folder that is removed in the end; empty for none."""


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


def serve(listener: socket.socket, main: Callable[[list[str]], int | None]) -> NoReturn:
    """Fork for each connection and have `main` do its errand, for ever; what that returns is the exit status."""
    # Guards are not waited for: whoever sent an errand is told of its end by the guard.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # What was imported is never collected, and so stays shared: https://docs.python.org/3/library/gc.html#gc.freeze
    gc.freeze()
    while True:
        connection, _ = listener.accept()
        try:
            errand = _read(connection)
        except (OSError, ValidationError) as error:
            sys.stderr.write(f"fork server: no errand: {type(error).__name__}\n")
            connection.close()
            continue
        try:
            child = os.fork()
        except OSError as error:
            # No memory or no process for one more: that one does not begin, and those that go on are not to end for it.
            sys.stderr.write(f"fork server: nothing can be forked: {error}\n")
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


def _guard(connection: socket.socket, errand: Errand, main: Callable[[list[str]], int | None]) -> NoReturn:
    """Stand over an errand, as `workers.processes.guard` stands over a command."""
    status = 127
    try:
        guard.die_with_guard()
        # A signal for the server's process group is not meant for the errand: the connection decides.
        os.setsid()
        # Where the guard looks whether it is still wanted.
        os.dup2(connection.fileno(), 0)
        log = os.open(errand.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(errand.folder)
        connection.sendall(PID.pack(os.getpid()))
        status = guard.run(errand.grace_seconds, lambda: _fork(connection, errand, main))
        if errand.temporary:
            shutil.rmtree(errand.temporary, ignore_errors=True)
        connection.sendall(bytes([status]))
    except BaseException:  # noqa: BLE001 - nothing may go on in the server's place
        traceback.print_exc()
    finally:
        os._exit(status)


def _fork(connection: socket.socket, errand: Errand, main: Callable[[list[str]], int | None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        guard.begin_below_guard()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        connection.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.environ.clear()
        os.environ.update(errand.environment)
        # Python remembers where temporary files go, once it has looked.
        tempfile.tempdir = None
        status = main(list(errand.arguments)) or 0
    except SystemExit as error:
        status = _exit_status(error.code)
    except BaseException:  # noqa: BLE001 - as an interpreter does at its top
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _exit_status(code: object) -> int:
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    return code if isinstance(code, int) else int(code is not None)
