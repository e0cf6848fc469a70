"""Connections and transactions."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from scheduler.database.tables import Event
from specs.processes.connections import CONNECT_SECONDS, IDLE_SECONDS, PROBE_SECONDS, PROBES, SENT_SECONDS

MIGRATIONS = Path(__file__).parent / "migrations"

SQLITE_BUSY_SECONDS = 30
"""How long a writer waits for another; SQLite has one at a time."""

RESTED_SECONDS = 0.5
"""After which a connection is asked whether it is still there before it is used."""

USED = "used"

CONNECTIONS = 15
"""Of one process to PostgreSQL, at most; whoever needs another waits for one."""

FORGOTTEN_SECONDS = 300
"""After which PostgreSQL ends a transaction in which nothing happens, such as a frozen process's, and its locks."""

_CLIENT = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": IDLE_SECONDS,
    "keepalives_interval": PROBE_SECONDS,
    "keepalives_count": PROBES,
    "tcp_user_timeout": 1000 * SENT_SECONDS,
}
"""https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""

_SERVER = {
    "tcp_keepalives_idle": IDLE_SECONDS,
    "tcp_keepalives_interval": PROBE_SECONDS,
    "tcp_keepalives_count": PROBES,
    "tcp_user_timeout": 1000 * SENT_SECONDS,
    "idle_in_transaction_session_timeout": 1000 * FORGOTTEN_SECONDS,
}
"""https://www.postgresql.org/docs/current/runtime-config-connection.html, and -client.html for the last. Else the locks
of a machine that lost its power stay for two hours, and whoever needs the same rows waits."""


def to_be_written(session: Session) -> list[dict[str, Any]]:
    """The lines that a transaction will add to the record, as columns of `Event`: all at once, when it ends."""
    found: list[dict[str, Any]] = session.info.setdefault("to be written", [])
    return found


def written(session: Session) -> list[dict[str, Any]]:
    """The lines that a transaction has added to the record."""
    found: list[dict[str, Any]] = session.info.setdefault("written", [])
    return found


def write_events(session: Session) -> None:
    """Add the lines now, for whoever needs to know their ids: nobody does of most."""
    lines = to_be_written(session)
    if lines:
        session.execute(insert(Event), lines)
        written(session).extend(lines)
        lines.clear()


class Database:
    """The farm's database, SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # Kept open once they were needed: PostgreSQL starts a process for each new connection.
        kept: dict[str, Any] = {} if self.is_sqlite else {"pool_size": CONNECTIONS, "max_overflow": 0}
        self.engine: Engine = create_engine(url, connect_args={} if self.is_sqlite else _of_client(parsed), **kept)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _tune_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        else:
            event.listen(self.engine, "connect", _tell_server)
            _ask_who_rested(self.engine)
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
            write_events(session)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Where there is one writer at a time, this process's threads follow one another without a pause.

        SQLite itself looks again after 1 to 100 ms. Whoever waits for too long asks it all the same, and is told so.
        """
        taken = self.is_sqlite and self._writing.acquire(timeout=SQLITE_BUSY_SECONDS)
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
        """Bring the schema to a revision of the migrations."""
        command.upgrade(self._alembic(), revision)

    def downgrade(self, revision: str) -> None:
        """Take the schema back to a revision; `base` is empty."""
        command.downgrade(self._alembic(), revision)

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


def _ask_who_rested(engine: Engine) -> None:
    """Have a connection that was used just now taken for one that is still there, and others asked first.

    SQLAlchemy's own `pool_pre_ping` asks each time, and every question to the database would be two.
    """

    def note(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[USED] = time.monotonic()

    def ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get(USED, math.inf) < RESTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The others are likely to be gone too. It connects anew.
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", ask)


def _of_client(url: URL) -> dict[str, Any]:
    """What an operator says in the address stands."""
    return {name: value for name, value in _CLIENT.items() if name not in url.query}


def _tell_server(connection: Any, _record: object) -> None:  # a DB-API connection has no common type
    # Not among the options of the connection, which poolers refuse.
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SERVER.items())
    cursor = connection.cursor()
    cursor.execute(f"SELECT {settings}")
    cursor.close()
    connection.commit()


def _tune_sqlite(connection: Any, _record: object) -> None:  # a DB-API connection has no common type
    # SQLAlchemy begins transactions itself, below.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_SECONDS * 1000}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:  # SQLAlchemy's Connection, whose options are untyped
    # A deferred transaction that turns into a writer after another one wrote fails at once, however long it may wait;
    # an immediate one queues for its turn.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
