"""Runs that need not import lighteval: forked from a process that has, for farms of which many runs are wanted.

`forked_runs.py serve SOCKET` imports and waits; `forked_runs.py SOCKET ORDER FOLDER [--wait]` stands where
`python -m workers.runner ORDER FOLDER [--wait]` would: same output, same exit status, and the run ends when it does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time


def serve(path: str) -> None:
    """Fork a run for each connection, for ever."""
    # Here, because the other side of this file is to start at once.
    from workers import runner  # noqa: PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        if os.path.exists(path):  # noqa: PTH110 - pathlib is slow to import
            os.unlink(path)  # noqa: PTH108
        listener.bind(path)
        listener.listen(16)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(connection, runner.main)
            connection.close()


def _run(connection: socket.socket, main: object) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sent, handles, _, _ = socket.recv_fds(connection, 2**20, 2)
    order = json.loads(sent)
    for number, handle in zip((1, 2), handles, strict=True):
        os.dup2(handle, number)
        os.close(handle)
    os.environ.clear()
    os.environ.update(order["environment"])
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    status = 1
    try:
        status = main(order["arguments"])  # type: ignore[operator]  # workers.runner.main
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status]))
        os._exit(status)


def _end_with(connection: socket.socket) -> None:
    connection.recv(1)
    os._exit(128 + signal.SIGKILL)


def ask(path: str, arguments: list[str]) -> int:
    """Have one forked, and wait for its end."""
    with socket.socket(socket.AF_UNIX) as connection:
        while True:
            try:
                connection.connect(path)
                break
            except OSError:
                # It imports still, or starts again.
                time.sleep(0.1)
        order = {"arguments": arguments, "environment": dict(os.environ)}
        socket.send_fds(connection, [json.dumps(order).encode()], [1, 2])
        status = connection.recv(1)
        return status[0] if status else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
