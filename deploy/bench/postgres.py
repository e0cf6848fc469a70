"""PostgreSQL servers for measurements and tests: each in a folder of its own, on a socket there, gone in the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

NO_SERVER = "no PostgreSQL server is installed (Debian's package `postgresql`)"
START_SECONDS, STOP_SECONDS = 120, 300
IN_MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 2**31  # noqa: S108 - a folder of a name of its own is made there
"""Where a server's files are if there is so much room: disks take most of the time that a new database costs."""

_USER, _DATABASE = "farm", "postgres"


@dataclass(frozen=True)
class PostgresServer:
    """A server that listens on a socket in its folder, and nowhere else."""

    folder: Path

    def url(self, name: str = _DATABASE) -> str:
        """SQLAlchemy's address of a database; by default of that which every server has, empty at first."""
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.folder}"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to that database, whose statements are transactions of their own."""
        return psycopg.connect(host=str(self.folder), user=_USER, dbname=_DATABASE, autocommit=True)


@dataclass(frozen=True)
class Cluster:
    """A fresh PostgreSQL cluster in a folder of its own, whose server is not started yet."""

    server: PostgresServer
    command: list[str]
    """Starts the server in the foreground."""

    user: str
    """Who starts it: it refuses to run as root."""


def postgres_programs() -> Path | None:
    """The folder of the server's programs; None where none is installed. Debian keeps them off the PATH."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return Path(on_path).resolve().parent if on_path else found[-1].parent if found else None


def new_cluster(programs: Path, *, lasting: bool = False) -> Cluster:
    """Make one.

    Where it is to be lasting, it is on a disk and waits for that, as a farm's does. Else what it holds survives the
    death of its server, but not a power cut.
    """
    in_memory = not lasting and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ENOUGH_BYTES
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-postgresql-", dir=IN_MEMORY if in_memory else None))
    # Its package made a user for it.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shutil.chown(folder, user)
    data = folder / "data"
    command = [str(programs / "initdb"), "--pgdata", str(data), "--username", _USER, "--auth", "trust", "--no-sync"]
    command += ["--encoding", "UTF8", "--locale", "C.UTF-8"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, user=user)
    settings = {"listen_addresses": "", "unix_socket_directories": folder, "max_connections": "200"}
    # Tests forbid sequential scans, at a price that has every other plan compiled.
    settings |= {"shared_buffers": "256MB"} if lasting else {"fsync": "off", "jit": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Cluster(PostgresServer(folder), [str(programs / "postgres"), "-D", str(data), *options], user)


@contextmanager
def running_postgres(*, lasting: bool = False) -> Iterator[PostgresServer]:
    """A fresh server; what it holds is gone in the end.

    Raises:
        RuntimeError: no server is installed, or it does not start.
    """
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError(NO_SERVER)
    cluster = new_cluster(programs, lasting=lasting)
    folder = cluster.server.folder
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(cluster.command, stdout=log, stderr=log, cwd=folder, user=cluster.user)
    try:
        _wait(process, cluster.server)
        yield cluster.server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], server: PostgresServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(server.folder / 'log').read_text()}") from None
            time.sleep(0.05)
        else:
            return
