"""Another process's work in the middle of this one's, on a real PostgreSQL server."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy import text

from scheduler.database.session import Database

PATIENCE_SECONDS = 30.0

_WAITS_FOR_A_LOCK = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def begun_beside(database: Database, work: Callable[[], object]) -> Future[object]:
    """Have a thread do something as far as it comes: to its end, or to a lock that another transaction holds.

    Whoever holds that must go on before its end is waited for.
    """
    pool = ThreadPoolExecutor(1)
    done = pool.submit(work)
    pool.shutdown(wait=False)
    deadline = time.monotonic() + PATIENCE_SECONDS
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not done.done() and not connection.scalar(_WAITS_FOR_A_LOCK):
            if time.monotonic() > deadline:
                raise TimeoutError("it neither ends nor waits for a lock")
            time.sleep(0.01)
    return done
