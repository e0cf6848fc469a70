"""Transactions and the schema, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, insert
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from scheduler.database import migrating, postgres, sqlite
from scheduler.database.tables import Event, VerdictRow
from specs.errors import PolicyError

MIGRATIONS = Path(__file__).parent / "migrations"


def to_be_written(session: Session, table: type[Event | VerdictRow]) -> list[dict[str, Any]]:
    """The rows that a transaction will add to a table, as columns: all at once, when it ends."""
    found: list[dict[str, Any]] = session.info.setdefault(f"to be written: {table.__tablename__}", [])
    return found


def written(session: Session) -> list[dict[str, Any]]:
    """The lines that a transaction has added to the record."""
    found: list[dict[str, Any]] = session.info.setdefault("written", [])
    return found


def write_events(session: Session) -> None:
    """Add the lines now, for whoever needs to know their ids: nobody does of most."""
    lines = to_be_written(session, Event)
    if lines:
        session.execute(insert(Event), lines)
        written(session).extend(lines)
        lines.clear()


@contextmanager
def _known_migrations() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise PolicyError(
            f"the migrations of this version: {error}. A database that a later version migrated needs that version, or"
            " its `reprofarm database downgrade`"
        ) from error


class Database:
    """The farm's database, SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine: Engine = sqlite.engine(parsed) if self.is_sqlite else postgres.engine(parsed)
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = threading.Lock()
        # PostgreSQL shows each statement what is committed by then, in a transaction or without one; without, there is
        # nothing to begin and nothing to end.
        at_once: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        looking = self.engine.execution_options(reading=True, **at_once)
        self._lookers = sessionmaker(looking, expire_on_commit=False, autoflush=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose work is committed at the end, or rolled back by an exception."""
        with self._turn(), self.sessions.begin() as session:
            yield session
            verdicts = to_be_written(session, VerdictRow)
            if verdicts:
                session.execute(insert(VerdictRow), verdicts)
            write_events(session)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Where there is one writer at a time, this process's threads follow one another without a pause.

        SQLite itself looks again after 1 to 100 ms. Whoever waits for too long asks it all the same, and is told so.
        """
        taken = self.is_sqlite and self._writing.acquire(timeout=sqlite.BUSY_SECONDS)
        try:
            yield
        finally:
            if taken:
                self._writing.release()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for looking; takes no write lock, and nothing it changes is kept."""
        connection = self.engine.connect().execution_options(reading=True)
        with connection, Session(connection, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """A session that only asks: it connects at its first question, and writes nothing that is changed in it."""
        with self._lookers() as session:
            yield session

    def upgrade(self, revision: str = "head") -> None:
        """Bring the schema to a revision of the migrations; of several who do so at once, each waits for the others.

        On PostgreSQL the farm may work meanwhile: a migration gives way to it, and one that was done stays done.

        Raises:
            PolicyError: this version has no such migration, or not the one that the database is at.
        """
        with _known_migrations():
            migrating.upgrade(self._alembic(), self.engine, revision)

    def downgrade(self, revision: str) -> None:
        """Take the schema back to a revision; `base` is empty.

        Raises:
            PolicyError: as above.
        """
        with _known_migrations():
            migrating.downgrade(self._alembic(), revision)

    def copy_to(self, file: Path) -> None:
        """Write a SQLite database to a file, empty or not there, as it is at one moment. Others may write meanwhile."""
        # It goes with no transaction, and ours begin by themselves.
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute("VACUUM INTO ?", (str(file),))
        finally:
            connection.close()

    def _alembic(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["engine"] = self.engine
        return config
