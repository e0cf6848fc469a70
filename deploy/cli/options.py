"""Options that several commands have, and the farm that they mean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.ids import of_claim, of_either
from deploy.cli.reasons import reason
from deploy.cli.terminal import MAX_LINE_CHARS, console, shown
from deploy.client import FarmClient
from deploy.client.farm import DEFAULT_API
from deploy.client.patience import Patience

VAR_ENV = "REPROFARM_VAR"
"""Names the farm's folder for all commands, in place of `var`."""

STATE_FILE = "farm.json"
"""In the farm's folder: where `reprofarm up` says, as long as it runs, where its API is."""

DEFAULT_VAR = Path("var")

TOKEN_ENV = "REPROFARM_TOKEN"  # noqa: S105 - the name of the variable that holds it


def api_in(var: Path) -> str:
    """The API of the farm that runs in a folder; else where one usually is."""
    try:
        found = json.loads((var / STATE_FILE).read_bytes())["api"]
    except (OSError, ValueError, LookupError, TypeError):
        return DEFAULT_API
    return found if isinstance(found, str) else DEFAULT_API


def farm_at(api: str | None, var: Path) -> FarmClient:
    """A client of the farm with that API, where that is None of the one that runs in `var`, with the caller's token.

    The token comes from the environment alone: what is on the command line is seen by everybody on the machine.
    """
    return FarmClient(api or api_in(var), os.environ.get(TOKEN_ENV))


def followed_farm_at(api: str | None, var: Path) -> FarmClient:
    """The same for who follows it: while it is away for a moment, which is said once, it is asked again."""
    err = console(stderr=True)
    return FarmClient(
        api or api_in(var),
        os.environ.get(TOKEN_ENV),
        Patience(lambda line: err.print(shown(line, MAX_LINE_CHARS), soft_wrap=True)),
    )


Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="REPROFARM_API",
        help=f"Base URL of the farm's API, with a token in {TOKEN_ENV}. Else: the farm that runs in --var.",
    ),
]

OtherApi = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="REPROFARM_API",
        help=f"Ask the farm with this API, with the token in {TOKEN_ENV}. Else: the farm in --var, by its database.",
    ),
]

Var = Annotated[
    Path,
    typer.Option(envvar=VAR_ENV, help="The farm's folder, as `up` has it; REPROFARM_DATABASE_URL wins over it."),
]

VarOfApi = Annotated[
    Path,
    typer.Option("--var", envvar=VAR_ENV, help="The farm's folder, as `up` has it, which says where its API is."),
]

PolicyFile = Annotated[
    Path | None,
    typer.Option(
        envvar="REPROFARM_POLICY",
        help="Policy file; policy.yaml in the farm's folder if not given, where `up` writes the built-in one.",
        show_default=False,
    ),
]

HubUrl = Annotated[str | None, typer.Option(envvar="REPROFARM_HUB_ENDPOINT", help="URL of the Hub.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

ClaimId = Annotated[
    str, typer.Argument(metavar="ID", help="Of the claim; its first six characters or more do.", callback=of_claim)
]

Target = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Of a claim or a reproduction, or the beginning of it.",
        show_default=False,
        callback=of_either,
    ),
]

BadgeId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Of the badge or its claim, or the beginning of it.", callback=of_claim),
]

Why = Annotated[str, typer.Option(help="The reason, for the record.", callback=reason)]
