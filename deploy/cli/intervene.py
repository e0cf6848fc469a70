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
    """Cancel a reproduction, queued or running, or what is to be run for a claim.

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
    """Have a claim that was cancelled, is blocked or failed tried again; of a reproduction, all such claims.

    Other verdicts stand. A claim that failed keeps its verdict and is withdrawn; its entry becomes a new claim.
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
    """Have a decided claim verified again, by a fresh run.

    The claim keeps its verdict and is withdrawn; its entry becomes a new claim, which no earlier run answers. Not more
    often than policy's reverify.cooldown_seconds, unless the model or the benchmark changed.
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
    """Approve what a claim's reproduction is taken to cost, so that it is planned in the farm's next round.

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
    """Revoke a badge: it is on the farm's public list of revocations, and the claim shows it.

    The signature in a token that was given out stays a good one, and what stands on the Hub stays there: whoever checks
    a token looks at the list (`reprofarm verify-token` does). There is no way back.
    """
    with actions_at(api, var) as farm:
        tell(farm.revoke(badge, why), as_json=as_json)


def tell(done: Done, *, as_json: bool) -> None:
    """Say what was done."""
    if as_json:
        print_json(done)
        return
    say(*done.lines)
