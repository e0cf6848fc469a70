"""Databases for tests: files of SQLite, and databases of a real PostgreSQL server that the tests start."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

Kind = Literal["sqlite", "postgresql"]

IN_MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 2**31  # noqa: S108 - a folder of a name of its own is made there
"""Where a server's files are if there is so much room: disks take most of the time that a new database costs."""

NO_SERVER = "no PostgreSQL server is installed (Debian's package `postgresql`); tests on it need one"
_START_SECONDS = 60


@dataclass(frozen=True)
class PostgresServer:
    """A server that listens on a socket in its folder, and nowhere else."""

    folder: Path
    made: dict[str, str] = field(default_factory=dict, compare=False)
    """What each of its databases was copied from."""

    def url(self, name: str) -> str:
        """SQLAlchemy's address of a database."""
        return f"postgresql+psycopg://farm@/{name}?host={self.folder}"

    def create(self, name: str, template: str = "template0") -> None:
        """Make a database, if it is not there."""
        with psycopg.connect(host=str(self.folder), user="farm", dbname="postgres", autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
                self.made[name] = template

    def drop_copies(self) -> None:
        """Drop all databases that were copied from another one, whoever is still connected."""
        with psycopg.connect(host=str(self.folder), user="farm", dbname="postgres", autocommit=True) as connection:
            for name in [name for name, template in self.made.items() if template != "template0"]:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
                del self.made[name]


@dataclass(frozen=True)
class Databases:
    """Databases of one kind, each belonging to a folder of a test."""

    server: PostgresServer | None

    def url(self, folder: Path) -> str:
        """SQLAlchemy's address of the folder's database, which is empty at first."""
        if self.server is None:
            return f"sqlite:///{folder / 'farm.db'}"
        name = _name(folder)
        self.server.create(name)
        return self.server.url(name)

    def copy(self, url: str, folder: Path) -> str:
        """Give the folder a copy of a database that nobody is connected to."""
        if self.server is None:
            # A second process of one farm finds the database of the first.
            if not (folder / "farm.db").exists():
                with closing(sqlite3.connect(str(make_url(url).database))) as before:
                    before.execute("VACUUM INTO ?", (str(folder / "farm.db"),))
        else:
            self.server.create(_name(folder), str(make_url(url).database))
        return self.url(folder)


SQLITE = Databases(None)


def at_once(work: Callable[[], object], workers: int = 4) -> None:
    """Do the same from several threads that start together, as several processes would."""
    start = threading.Barrier(workers)

    def wait_and_work() -> None:
        start.wait()
        work()

    with ThreadPoolExecutor(workers) as pool:
        for each in [pool.submit(wait_and_work) for _ in range(workers)]:
            each.result()


def _name(folder: Path) -> str:
    return "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:24]


def postgres_programs() -> Path | None:
    """The folder of the server's programs; None where none is installed. Debian keeps them off the PATH."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return Path(on_path).resolve().parent if on_path else found[-1].parent if found else None


@dataclass(frozen=True)
class Cluster:
    """A fresh PostgreSQL cluster in a folder of its own, whose server is not started yet.

    What it holds survives the death of its server, but not a power cut.
    """

    server: PostgresServer
    command: list[str]
    """Starts the server in the foreground."""

    user: str
    """Who starts it: it refuses to run as root."""


def new_cluster(programs: Path) -> Cluster:
    """Make one."""
    in_memory = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ENOUGH_BYTES
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-postgresql-", dir=IN_MEMORY if in_memory else None))
    # Its package made a user for it.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shutil.chown(folder, user)
    data = folder / "data"
    command = [str(programs / "initdb"), "--pgdata", str(data), "--username", "farm", "--auth", "trust", "--no-sync"]
    command += ["--encoding", "UTF8", "--locale", "C.UTF-8"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, user=user)
    settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": "200"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Cluster(PostgresServer(folder), [str(programs / "postgres"), "-D", str(data), *options], user)


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    """A fresh server; what it holds is gone in the end."""
    cluster = new_cluster(programs)
    folder = cluster.server.folder
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(cluster.command, stdout=log, stderr=log, cwd=folder, user=cluster.user)
    try:
        _wait(process, folder)
        yield cluster.server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(folder), user="farm", dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}") from None
            time.sleep(0.05)
        else:
            return
