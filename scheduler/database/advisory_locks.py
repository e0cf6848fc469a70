"""Advisory locks, held until the transaction ends, so that the next holder sees what this one did."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.orm import Session


def acquire(session: Session | Connection, what: str) -> None:
    """Let nobody else do what goes by this name until the transaction ends.

    For what rests on a count of rows that others add to: a lock on rows keeps nobody from adding. SQLite's transactions
    are one at a time anyway.
    """
    dialect = session.get_bind().dialect if isinstance(session, Session) else session.dialect
    if dialect.name == "postgresql":
        session.execute(_TURN, {"what": what})


_TURN = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("what"), 0)))
