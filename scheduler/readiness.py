"""Whether the database and the broker can be worked with; None, or what is wrong, without words that hold secrets."""

from __future__ import annotations

from functools import cache

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from scheduler.database.session import MIGRATIONS, Database

BROKER_SECONDS = 2.0
"""A probe has to answer before whoever asks gives up."""


def trouble_with_database(database: Database) -> str | None:
    """It does not answer, or has not the tables that this version needs."""
    try:
        # The driver's own words can hold the address and the user's name.
        with database.engine.connect().execution_options(reading=True) as connection:
            found = MigrationContext.configure(connection).get_current_heads()
    except SQLAlchemyError as error:
        return f"does not answer ({type(error).__name__})"
    wanted = _wanted_heads()
    if not set(found) <= _known_revisions():
        return f"is at a later version's migration {', '.join(found)}, this version needs {', '.join(wanted)}"
    if not found:
        return f"is empty: it has no tables of reprofarm's yet, this version needs migration {', '.join(wanted)}"
    if set(found) != set(wanted):
        return f"is at migration {', '.join(found)}, this version needs {', '.join(wanted)}"
    return None


@cache
def _wanted_heads() -> tuple[str, ...]:
    return tuple(ScriptDirectory(str(MIGRATIONS)).get_heads())


@cache
def _known_revisions() -> frozenset[str]:
    return frozenset(each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def trouble_with_broker(url: str) -> str | None:
    """It does not answer."""
    try:
        with Redis.from_url(url, socket_connect_timeout=BROKER_SECONDS, socket_timeout=BROKER_SECONDS) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"does not answer ({type(error).__name__})"
    return None
