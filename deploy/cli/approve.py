"""`reprofarm approve`: an operator lets a claim run that a budget holds back."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.cli.terminal import console, shown
from scheduler.approving import approve as approve_claim
from scheduler.database.session import Database
from scheduler.readiness import trouble_with_database
from scheduler.settings import read_settings
from specs.errors import ApprovalError, PolicyError


def approve(
    claim_id: Annotated[str, typer.Argument(metavar="ID", help="Of the claim; its first six characters or more do.")],
    over_budget: Annotated[
        bool, typer.Option("--over-budget", help="Run it even where the budget of a day has no room.")
    ] = False,
) -> None:
    """Approve what a claim's reproduction is taken to cost, so that it is planned in the farm's next round.

    For the control plane's machine: it writes to the farm's database, which REPROFARM_DATABASE_URL names, and the
    record keeps the name of the user who ran it.
    """
    url = read_settings().database_url
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise PolicyError("REPROFARM_DATABASE_URL is not a URL, such as sqlite:///var/reprofarm.db") from error
    # Opening it would make the file.
    if parsed.get_backend_name() == "sqlite" and not (parsed.database and Path(parsed.database).exists()):
        raise ApprovalError(
            f"the farm's database {parsed.database} is not there; run this where the control plane runs"
        )
    database = Database(url)
    try:
        trouble = trouble_with_database(database)
        if trouble:
            raise ApprovalError(f"the farm's database {trouble}; run this where the control plane runs")
        found = approve_claim(database, claim_id, f"operator:{_user()}", over_budget=over_budget)
    finally:
        database.engine.dispose()
    limits = "" if found.over_budget else "; the limits of a day still hold for it (--over-budget lifts them)"
    said = f"approved: claim {found.claim_id}, about {found.gpu_seconds:,.0f} GPU-seconds{limits}"
    console().print(shown(said, 2000), soft_wrap=True)


def _user() -> str:
    """Who runs this, as the system knows it: the environment could say anything."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container's user may have no name.
        return f"uid-{os.getuid()}"
