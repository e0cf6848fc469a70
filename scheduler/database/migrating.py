"""Migrating beside processes that work: on PostgreSQL a step at a time, and giving way to them.

There `ALTER TABLE` keeps everybody from a table until its transaction ends. One that has a table and waits for another
can meet somebody who has that one and waits for the first, and whoever comes meanwhile waits behind both.
"""

from __future__ import annotations

import logging
import time
from functools import partial

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

LOCK_MILLISECONDS = 800
"""For one lock. After a second PostgreSQL looks for circles, and may end a query of the farm's instead."""

ATTEMPTS = 60
"""At one step. A read that goes on for longer, such as a dump of the database, is the operator's to wait for."""

PAUSE_SECONDS = 2.0
"""Until a step is tried again; those who waited behind it have their turn."""

NOT_NOW = frozenset({"40P01", "55P03"})
"""What PostgreSQL says of a circle, and of a lock that took too long."""


def upgrade(config: Config, engine: Engine, revision: str) -> None:
    """Bring the schema to a revision."""
    steps = _steps(config, engine, revision) if engine.dialect.name == "postgresql" else [revision]
    for step in steps:
        _give_way(partial(command.upgrade, config, step))


def downgrade(config: Config, revision: str) -> None:
    """Take the schema back to a revision."""
    _give_way(partial(command.downgrade, config, revision))


def wait_briefly_for_locks(connection: Connection) -> None:
    """Have the rest of a transaction fail where somebody else has a lock for long, instead of waiting for it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}"))


def _steps(config: Config, engine: Engine, revision: str) -> list[str]:
    """The revisions that are still to come, up to that one: each is a transaction, and gives its locks back."""
    with engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory.from_config(config).walk_revisions("base", revision)
    known = [script.revision for script in scripts]
    # Newest first. Where it is at none of them, Alembic says what is wrong, or that there is nothing to do.
    passed = next((known.index(each) for each in at if each in known), len(known) if not at else 0)
    return [*reversed(known[1:passed]), revision]


def _give_way(migrate: partial[None]) -> None:
    """Migrate, and do so again where others had a table for long: what was begun is rolled back then."""
    for left in reversed(range(ATTEMPTS)):
        try:
            migrate()
        except DBAPIError as error:
            if not left or getattr(error.orig, "sqlstate", None) not in NOT_NOW:
                raise
            log.warning("the farm works with tables that are to change; trying again in %g s", PAUSE_SECONDS)
            time.sleep(PAUSE_SECONDS)
        else:
            return
