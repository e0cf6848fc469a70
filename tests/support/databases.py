"""Databases for tests: files of SQLite, and databases of a real PostgreSQL server that the tests start."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from deploy.bench.postgres import PostgresServer

Kind = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Databases:
    """Databases of one kind, each belonging to a folder of a test."""

    server: PostgresServer | None
    copies: list[str] = field(default_factory=list, compare=False)
    """On the server, of other databases of it."""

    def url(self, folder: Path) -> str:
        """SQLAlchemy's address of the folder's database, which is empty at first."""
        if self.server is None:
            return f"sqlite:///{folder / 'farm.db'}"
        name = _name(folder)
        create(self.server, name)
        return self.server.url(name)

    def copy(self, url: str, folder: Path) -> str:
        """Give the folder a copy of a database that nobody is connected to."""
        if self.server is None:
            # A second process of one farm finds the database of the first.
            if not (folder / "farm.db").exists():
                before = str(make_url(url).database)
                assert not Path(f"{before}-wal").exists(), "somebody is connected, or was killed: its file is not all"
                shutil.copyfile(before, folder / "farm.db")
            return self.url(folder)
        name = _name(folder)
        create(self.server, name, str(make_url(url).database))
        self.copies.append(name)
        return self.server.url(name)

    def drop_copies(self) -> None:
        """Drop all databases that were copied from another one, whoever is still connected."""
        if self.server is not None:
            with self.server.connect() as connection:
                while self.copies:
                    name = sql.Identifier(self.copies.pop())
                    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


SQLITE = Databases(None)

ON_BOTH = pytest.mark.parametrize("databases", ["sqlite", "postgresql"], indirect=True)
"""In modules that are `mostly_sqlite`: for tests that send a statement which no other test sends to PostgreSQL, and for
those in which several are at work at once."""


def databases_of(kind: str, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Where a module's tests get their databases from."""
    if kind == "sqlite":
        yield SQLITE
        return
    found = Databases(request.getfixturevalue("postgres"))
    yield found
    # Several hundred of them would fill more than a machine's memory.
    found.drop_copies()


@pytest.fixture(scope="module")
def mostly_sqlite(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """SQLite but for tests that are `ON_BOTH`, for modules that say `databases = mostly_sqlite`.

    They are about what the farm decides: what they send to a database, tests of other modules send to PostgreSQL too.
    """
    yield from databases_of(getattr(request, "param", "sqlite"), request)


def create(server: PostgresServer, name: str, template: str = "template0") -> None:
    """Make a database, if it is not there."""
    with server.connect() as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            # Files that are copied take the server two thirds of what logging each of their pages does.
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


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
