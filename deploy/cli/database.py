"""`reprofarm database`: bring the farm's tables to what this version needs, or back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from deploy.cli.terminal import console, shown
from scheduler.database.session import Database
from scheduler.readiness import trouble_with_database
from scheduler.settings import read_settings
from specs.errors import PolicyError

app = typer.Typer(help="Bring the farm's tables to what this version needs, or back.")


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="A migration, or `head` for the newest.")] = "head",
) -> None:
    """Make what tables are missing in the database that REPROFARM_DATABASE_URL names. Harmless where none is."""
    with _database() as database:
        database.upgrade(revision)
        trouble = trouble_with_database(database) or "has the tables that this version needs"
    console().print(shown(f"the database {trouble}"), soft_wrap=True)


@app.command()
def downgrade(revision: Annotated[str, typer.Argument(help="A migration to go back to.", show_default=False)]) -> None:
    """Take the tables back to those of an earlier version, before that is started again.

    What only newer tables and columns hold is lost.
    """
    with _database() as database:
        database.downgrade(revision)
    console().print(shown(f"the database is at migration {revision}"), soft_wrap=True)


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="A file that is not there yet.", show_default=False)]) -> None:
    """Write a copy of a SQLite database, as it is at one moment, while the farm goes on. For PostgreSQL: pg_dump."""
    with _database() as database:
        if not database.is_sqlite:
            raise PolicyError("the farm's database is PostgreSQL's: back it up with pg_dump (docs/operations.md)")
        if file.exists():
            raise PolicyError(f"{file} is there already")
        # Whoever reads it knows all that the farm knows, its webhooks' secrets too.
        file.touch(mode=0o600)
        database.copy_to(file)
    console().print(shown(f"the database is copied to {file}"), soft_wrap=True)


@contextmanager
def _database() -> Iterator[Database]:
    database = Database(read_settings().database_url)
    try:
        yield database
    except CommandError as error:
        raise PolicyError(f"the migrations of this version: {error}") from error
    except SQLAlchemyError as error:
        # The driver's own words can hold the address and the user's name.
        raise PolicyError(f"the farm's database cannot be used ({type(error).__name__})") from error
    finally:
        database.engine.dispose()
