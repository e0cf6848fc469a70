"""Connections to PostgreSQL: few, kept open, and given up by either end where the other has vanished."""

from __future__ import annotations

import math
import time
from typing import Any

from sqlalchemy import Engine, bindparam, create_engine, event, func, select, true
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, InternalError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from specs.processes.connections import CONNECT_SECONDS, IDLE_SECONDS, PROBE_SECONDS, PROBES, SENT_SECONDS

AWAY = (OperationalError, InterfaceError, InternalError, NoConnectionFree)
"""What is raised where the database is away for a moment, or gave up on a transaction of a process that was frozen; the
last where it stalls, and holds up everybody who has one of this process's connections."""

CONNECTIONS = 15
"""Of one process, at most; whoever needs another waits for one."""

RESTED_SECONDS = 0.5
"""After which a connection is asked whether it is still there before it is used."""

USED = "used"

FORGOTTEN_SECONDS = 300
"""After which the server ends a transaction in which nothing happens, such as a frozen process's, and its locks."""

_CLIENT = {
    # A database may have been made without an encoding: then text would come as bytes.
    "client_encoding": "utf8",
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


def is_deadlock(error: OperationalError) -> bool:
    """Whether PostgreSQL ended a transaction so that another can go on."""
    return getattr(error.orig, "sqlstate", None) == "40P01"


def is_row_held(error: OperationalError) -> bool:
    """Whether a transaction waited for a row for as long as it was to: `wait_briefly_for_rows`."""
    return getattr(error.orig, "sqlstate", None) == "55P03"


def wait_briefly_for_rows(session: Session, seconds: float) -> None:
    """Have the rest of a transaction fail where somebody else holds a row for so long, instead of waiting for it.

    That is one of `AWAY`, as what SQLite says to whoever waits for too long.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_WAIT_BRIEFLY, {"wait": f"{1000 * seconds:.0f}ms"})


_WAIT_BRIEFLY = select(func.set_config("lock_timeout", bindparam("wait"), true()))
"""For this transaction alone."""


def engine(url: URL) -> Engine:
    """Connects to a server. What an operator says in the address stands."""
    client = {name: value for name, value in _CLIENT.items() if name not in url.query}
    # Kept open once they were needed: the server starts a process for each new connection.
    found = create_engine(url, connect_args=client, pool_size=CONNECTIONS, max_overflow=0)
    event.listen(found, "connect", _tell_server)
    _ask_who_rested(found)
    return found


def _tell_server(connection: Any, _record: object) -> None:  # a DB-API connection has no common type
    # Not among the options of the connection, which poolers refuse.
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SERVER.items())
    cursor = connection.cursor()
    cursor.execute(f"SELECT {settings}")
    cursor.close()
    connection.commit()


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
