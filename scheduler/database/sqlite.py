"""Connections to SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

BUSY_SECONDS = 30
"""How long a writer waits for another; SQLite has one at a time."""


def engine(url: URL) -> Engine:
    """Connects to a file, which need not be there yet. Who writes waits for its turn when its transaction begins."""
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    found = create_engine(url)
    event.listen(found, "connect", _tune)
    event.listen(found, "begin", _begin_immediate)
    return found


def _tune(connection: Any, _record: object) -> None:  # a DB-API connection has no common type
    # SQLAlchemy begins transactions itself, below.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:  # SQLAlchemy's Connection, whose options are untyped
    # A deferred transaction that turns into a writer after another one wrote fails at once, however long it may wait;
    # an immediate one queues for its turn.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
