"""The SQLite file of the folder: what git does not know (settings, grants, discussions)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS repos (
    type TEXT NOT NULL, id TEXT NOT NULL COLLATE NOCASE, private INTEGER NOT NULL, gated TEXT,
    benchmark INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL,
    PRIMARY KEY (type, id)
);
CREATE TABLE IF NOT EXISTS moves (
    type TEXT NOT NULL, id TEXT NOT NULL COLLATE NOCASE, now_at TEXT NOT NULL, PRIMARY KEY (type, id)
);
CREATE TABLE IF NOT EXISTS grants (
    type TEXT NOT NULL, id TEXT NOT NULL COLLATE NOCASE, user TEXT NOT NULL, granted_at TEXT NOT NULL,
    PRIMARY KEY (type, id, user)
);
CREATE TABLE IF NOT EXISTS discussions (
    type TEXT NOT NULL, id TEXT NOT NULL COLLATE NOCASE, num INTEGER NOT NULL, title TEXT NOT NULL,
    author TEXT NOT NULL, status TEXT NOT NULL, is_pull_request INTEGER NOT NULL, created_at TEXT NOT NULL,
    merge_commit TEXT,
    PRIMARY KEY (type, id, num)
);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, id TEXT NOT NULL COLLATE NOCASE,
    num INTEGER NOT NULL, kind TEXT NOT NULL, author TEXT NOT NULL, created_at TEXT NOT NULL, data TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS holdings (user TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (user, sha256));
CREATE INDEX IF NOT EXISTS events_of_a_discussion ON events (type, id, num);
"""


class Database:
    """Connections to the folder's SQLite file; safe to use from several threads and processes."""

    def __init__(self, path: Path):
        self._path = path
        with self.transaction() as connection:
            connection.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed at the end, rolled back on an exception. Waits for others' up to 30 s."""
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            if connection.in_transaction:
                connection.execute("COMMIT")
        finally:
            connection.close()

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a SELECT."""
        connection = sqlite3.connect(self._path, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()
