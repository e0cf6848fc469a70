"""`reprofarm cancel`, `retry`, `reverify`, `approve` and `revoke`: what is done by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.cli.actions import actions_at
from deploy.cli.options import DEFAULT_VAR, AsJson, BadgeId, ClaimId, OtherApi, Target, Var, Why
from deploy.cli.reasons import reason
from deploy.cli.terminal import print_json, say
from specs.api_v1.actions import Done


def cancel(
    target: Target,
    why: Annotated[str, typer.Option(help="The reason, for the record and for the claim's author.", callback=reason)],
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a reproduction, queued or running, or the run of a claim.

    Its worker stops within seconds and goes on with other work. The claims wait until `reprofarm retry`. Without --api
    it writes to the farm's database, and is recorded under your user name; with it, under your token's.
    """
    with actions_at(api, var) as farm:
        tell(farm.cancel(target, why), as_json=as_json)


def retry(
    target: Target,
    why: Why = "the operator asked for it",
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Retry a claim that failed, is blocked or was cancelled; for a reproduction, all such claims.

    A claim that failed keeps its verdict and is withdrawn; its entry becomes a new claim. For other verdicts there is
    `reverify`.
    """
    with actions_at(api, var) as farm:
        tell(farm.retry(target, why), as_json=as_json)


def reverify(
    claim_id: ClaimId,
    why: Why,
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Verify a decided claim again, by a fresh run.

    The claim keeps its verdict and is withdrawn; its entry becomes a new claim, which no earlier run answers. Not more
    often than policy's reverify.cooldown_seconds, unless the model or the benchmark changed, or the claim failed or was
    unsupported.
    """
    with actions_at(api, var) as farm:
        tell(farm.reverify(claim_id, why), as_json=as_json)


def approve(
    claim_id: ClaimId,
    over_budget: Annotated[
        bool, typer.Option("--over-budget", help="Run it even where the budget of a day has no room.")
    ] = False,
    why: Why = "the operator approves what it costs",
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Approve the estimated cost of a claim's run; the farm plans it in its next round.

    Without --api it writes to the farm's database, and the record keeps the name of the user who ran it.
    """
    with actions_at(api, var) as farm:
        tell(farm.approve(claim_id, why, over_budget=over_budget), as_json=as_json)


def revoke(
    badge: BadgeId,
    why: Annotated[str, typer.Option(help="The reason, for everybody who checks the badge.", callback=reason)],
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a badge: the farm's public list of revocations and the claim show it. This cannot be undone.

    Tokens that are on the Hub stay there, and their signature stays valid: whoever checks a token has to look at the
    list (`reprofarm verify-token` does).
    """
    with actions_at(api, var) as farm:
        tell(farm.revoke(badge, why), as_json=as_json)


def tell(done: Done, *, as_json: bool) -> None:
    """Say what was done."""
    if as_json:
        print_json(done)
        return
    say(*done.lines)
