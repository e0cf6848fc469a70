"""`reprofarm revoke`: an operator has a badge count no more, on the control plane's machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.control_plane import Var, opened_database, operator, say, settings_of
from scheduler.badges.revoking import revoke as revoke_badge


def revoke(
    badge: Annotated[str, typer.Argument(metavar="ID", help="Of the badge or its claim, or the beginning of it.")],
    why: Annotated[str, typer.Option(help="The reason, for everybody who checks the badge.")],
    var: Var = Path("var"),
) -> None:
    """Revoke a badge: it is on the farm's public list of revocations, and the claim shows it.

    The signature in a token that was given out stays a good one, and what stands on the Hub stays there: whoever checks
    a token looks at the list (`reprofarm verify-token` does). There is no way back.
    """
    with opened_database(settings_of(var)) as database:
        say(revoke_badge(database, badge, why, operator()))
