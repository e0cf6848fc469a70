"""`reprofarm database`: bring the farm's tables to what this version needs, or back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.control_plane import opened_database, settings_of
from deploy.cli.options import DEFAULT_VAR, Var
from deploy.cli.terminal import console, shown
from scheduler.database.readiness import trouble_with_database
from specs.errors import PolicyError

app = typer.Typer(help="Migrate the farm's database, or back it up.")


@app.command()
def upgrade(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="A migration, or `head` for the newest.")
    ] = "head",
    var: Var = DEFAULT_VAR,
    newer_is_fine: Annotated[
        bool,
        typer.Option(
            "--newer-is-fine", help="Leave tables that a later version migrated as they are: this one can use them."
        ),
    ] = False,
) -> None:
    """Migrate the database to this version's tables. Does nothing if it has them."""
    with opened_database(settings_of(var), may_make=True, ready=False) as database:
        try:
            database.upgrade(revision)
        except PolicyError:
            if not newer_is_fine or trouble_with_database(database, newer_is_fine=True):
                raise
        trouble = trouble_with_database(database) or "has the tables that this version needs"
    console().print(shown(f"the database {trouble}"), soft_wrap=True)


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="A migration to go back to.", show_default=False)],
    var: Var = DEFAULT_VAR,
) -> None:
    """Migrate back to the tables of an earlier version, before you start that again.

    What only newer tables and columns hold is lost.
    """
    with opened_database(settings_of(var), ready=False) as database:
        database.downgrade(revision)
    console().print(shown(f"the database is at migration {revision}"), soft_wrap=True)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.", show_default=False)],
    var: Var = DEFAULT_VAR,
) -> None:
    """Write a consistent copy of a SQLite database while the farm runs. For PostgreSQL: pg_dump."""
    with opened_database(settings_of(var), ready=False) as database:
        if not database.is_sqlite:
            raise PolicyError("the farm's database is PostgreSQL's: back it up with pg_dump (docs/operations.md)")
        if file.exists():
            raise PolicyError(f"{file} is there already")
        # Whoever reads it knows all that the farm knows, its webhooks' secrets too.
        file.touch(mode=0o600)
        database.copy_to(file)
    console().print(shown(f"the database is copied to {file}"), soft_wrap=True)
