"""Whether the database can be worked with; None, or what is wrong, without words that hold secrets."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from scheduler.database.session import MIGRATIONS, Database
from scheduler.database.tables import Table

NUMBERED = re.compile(r"[0-9]{4}")
"""How this project names its migrations."""


def trouble_with_database(database: Database, *, newer_is_fine: bool = False) -> str | None:
    """It does not answer, or has not the tables that this version needs.

    Where newer is fine, it has them too if a later version migrated it: migrations only add.
    """
    try:
        # The driver's own words can hold the address and the user's name.
        with database.engine.connect().execution_options(reading=True) as connection:
            found = MigrationContext.configure(connection).get_current_heads()
            if newer_is_fine and _is_of_later_version(connection, found):
                return None
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


def _is_of_later_version(connection: Connection, found: Collection[str]) -> bool:
    """Whether it is at migrations with higher numbers than this version's, and has its tables."""
    if not found or not all(NUMBERED.fullmatch(each) and each > max(_wanted_heads()) for each in found):
        return False
    # Another program may number its own migrations so too.
    return set(Table.metadata.tables) <= set(inspect(connection).get_table_names())


@cache
def _wanted_heads() -> tuple[str, ...]:
    return tuple(ScriptDirectory(str(MIGRATIONS)).get_heads())


@cache
def _known_revisions() -> frozenset[str]:
    return frozenset(each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions())
