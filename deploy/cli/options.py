"""Options that several commands have, and the farm that they mean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.ids import of_claim, of_either
from deploy.cli.reasons import reason
from deploy.client import FarmClient
from deploy.client.farm import DEFAULT_API

STATE_FILE = Path("var/farm.json")
"""Where `reprofarm up` says, as long as it runs, where its API is."""

TOKEN_ENV = "REPROFARM_TOKEN"  # noqa: S105 - the name of the variable that holds it


def default_api() -> str:
    """The API of the farm that runs in `var` here; else where one usually is."""
    try:
        found = json.loads(STATE_FILE.read_bytes())["api"]
    except (OSError, ValueError, LookupError, TypeError):
        return DEFAULT_API
    return found if isinstance(found, str) else DEFAULT_API


def farm_at(api: str) -> FarmClient:
    """A client of the farm there, with the caller's token.

    The token comes from the environment alone: what is on the command line is seen by everybody on the machine.
    """
    return FarmClient(api, os.environ.get(TOKEN_ENV))


Api = Annotated[
    str,
    typer.Option(
        "--api",
        envvar="REPROFARM_API",
        default_factory=default_api,
        show_default="the farm that runs here",
        help=f"Base URL of the farm's API. A token goes into {TOKEN_ENV}.",
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

DEFAULT_VAR = Path("var")

Var = Annotated[Path, typer.Option(help="The farm's folder, as `up` has it; REPROFARM_DATABASE_URL wins over it.")]

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
