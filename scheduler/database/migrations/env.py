"""How Alembic reaches the database: through the engine that `Database` hands it."""

from __future__ import annotations

from typing import Literal

from alembic import context

from scheduler.database.advisory_locks import acquire
from scheduler.database.migrating import wait_briefly_for_locks
from scheduler.database.tables import Table, UtcDateTime


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our own column type as the plain one it stores, so that a migration never depends on our code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


with context.config.attributes["engine"].connect() as connection:
    # SQLite alters a table by copying it. Its transactions may hold such statements once nobody else begins them, as
    # `sqlite.engine` sees to; Alembic takes it that they may not, and would commit each migration by itself, so that
    # two who migrate at once could both run the next.
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        render_item=render_item,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        # Before the migration that it is at is read: who waited finds that there is nothing left to do.
        acquire(connection, "migrate")
        wait_briefly_for_locks(connection)
        context.run_migrations()
    connection.commit()
