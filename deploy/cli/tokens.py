"""`reprofarm tokens`: who may use the API, on the control plane's machine."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from deploy.cli.control_plane import opened_database, operator, settings_of
from deploy.cli.options import DEFAULT_VAR, AsJson, Var
from deploy.cli.terminal import MAX_LINE_CHARS, ago, console, print_json, say, shown
from scheduler.access import sessions, tokens
from scheduler.api.routes.access import token_view
from scheduler.database.tables import ApiToken, now
from specs.api_v1.access import DEFAULT_DAYS, NewToken, TokenMade, TokenView
from specs.api_v1.views import Page
from specs.errors import AccessError
from specs.validation_errors import fault

app = typer.Typer(
    name="tokens",
    help="Create, list and revoke API tokens. Needs the farm's database.",
    no_args_is_help=True,
)


@app.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="For the record: what the token does stands there as token:NAME.")
    ],
    scope: Annotated[
        list[str], typer.Option(help="read, request or operate; each includes those before it; may be repeated.")
    ] = ["read"],  # noqa: B006 - typer shows it, and nothing changes it
    namespace: Annotated[
        list[str] | None, typer.Option(help="Only for models and benchmarks there, all if not given; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(help="Until it expires.")] = DEFAULT_DAYS,
    as_json: AsJson = False,
    var: Var = DEFAULT_VAR,
) -> None:
    """Make a token and print it. The farm keeps a hash, so that it cannot be shown again."""
    try:
        wanted = NewToken.model_validate(
            {
                "name": name,
                "scopes": tuple(scope),
                "namespaces": tuple(namespace or ()) or None,
                "days": days,
            }
        )
    except ValidationError as error:
        raise AccessError("; ".join(map(fault, error.errors()))) from None
    with opened_database(settings_of(var)) as database:
        made = tokens.make(database, wanted, operator())
    if as_json:
        print_json(TokenMade(**token_view(made.row).model_dump(), token=made.secret))
        return
    # The token alone on standard output, for `TOKEN=$(reprofarm tokens new …)`.
    typer.echo(made.secret)
    console(stderr=True).print(shown(f"token {tokens.told(made.row)}; not shown again", MAX_LINE_CHARS), soft_wrap=True)


@app.command(name="list")
def list_(as_json: AsJson = False, var: Var = DEFAULT_VAR) -> None:
    """List all tokens, newest first, expired and revoked ones included."""
    with opened_database(settings_of(var)) as database:
        rows = tokens.listed(database)
    if as_json:
        print_json(Page[TokenView](items=tuple(token_view(row) for row in rows), next=None))
        return
    table = Table("name", "scopes", "namespaces", "state", "last used", "made by", box=None)
    for row in rows:
        where = "all" if row.namespaces is None else ", ".join(row.namespaces)
        used = f"{ago(row.used_at)} ago" if row.used_at is not None else "never"
        cells = (row.name, ", ".join(row.scopes), where, _state(row), used, row.created_by)
        table.add_row(*(shown(cell) for cell in cells))
    console().print(table)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Or the id of the token.")], var: Var = DEFAULT_VAR
) -> None:
    """Revoke a token, from the next request on."""
    with opened_database(settings_of(var)) as database:
        row = tokens.revoke(database, name, operator())
    say(f"token {row.name} is revoked")


@app.command()
def sign_out(
    user: Annotated[str, typer.Argument(metavar="USER", help="The name on the Hub.")], var: Var = DEFAULT_VAR
) -> None:
    """End all sessions of somebody who signed in with the Hub."""
    with opened_database(settings_of(var)) as database:
        ended = sessions.close_all_of(database, user, operator())
    say(f"{ended} sessions of {user} are ended")


def _state(row: ApiToken) -> str:
    if row.revoked_at is not None:
        return f"revoked by {row.revoked_by}"
    return f"expired {row.expires_at:%Y-%m-%d}" if row.expires_at <= now() else f"until {row.expires_at:%Y-%m-%d}"
