"""`reprofarm policy`: the rules, whether a file of them is right, and which of them hold for a claim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table
from rich.text import Text

from deploy.cli.options import DEFAULT_VAR, Api, AsJson, ClaimId, VarOfApi, farm_at
from deploy.cli.terminal import console, pairs, percent, points, print_json, say, shown
from specs.api_v1.claims import ClaimView
from specs.errors import PolicyError
from specs.policy.explained import Rule, model_rules_explained, rules_explained
from specs.policy.rules import Policy, read_policy

app = typer.Typer(help="Show or check the policy, or explain which rules apply to a claim.")


@app.command()
def show(as_json: AsJson = False, var: VarOfApi = DEFAULT_VAR, api: Api = None) -> None:
    """Show the policy that the farm judges by, as a policy file that could be given to another farm."""
    with farm_at(api, var) as farm:
        found = farm.policy()
    if as_json:
        print_json(found)
        return
    console().print(f"# SHA-256 {found.sha256}, as badges name it", style="dim", soft_wrap=True)
    console().print(as_yaml(found.policy), soft_wrap=True, end="")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Check a policy file before a farm reads it.

    Exit codes: 0 it is right, 3 it is not, with the place. With --json: {"valid", "sha256", "reason"}.
    """
    try:
        found = read_policy(file)
    except PolicyError as error:
        if as_json:
            print_json({"valid": False, "sha256": None, "reason": str(error)})
        raise
    if as_json:
        print_json({"valid": True, "sha256": found.sha256, "reason": None})
    else:
        say(f"{file} is a policy, SHA-256 {found.sha256}")


@app.command()
def explain(claim_id: ClaimId, as_json: AsJson = False, var: VarOfApi = DEFAULT_VAR, api: Api = None) -> None:
    """Say which rules apply to a claim, and where each comes from.

    With --json: {"claim", "tolerance", "scale", "scale_source", "rules": [{"name", "value", "source"}]}.
    """
    with farm_at(api, var) as farm:
        claim, policy = farm.claim(claim_id), farm.policy().policy
    if claim.dataset is None:
        raise PolicyError(f"claim {claim.id} names no benchmark that could be read, so no rule is about it")
    rules = rules_explained(policy, claim.dataset, claim.task) + model_rules_explained(policy, claim.model)
    if as_json:
        listed = [{"name": rule.name, "value": rule.value, "source": rule.source} for rule in rules]
        judged = {"tolerance": claim.tolerance, "scale": claim.scale, "scale_source": claim.scale_source}
        print_json({"claim": claim.id, **judged, "rules": listed})
        return
    out = console()
    out.print(pairs(_judged(claim)))
    out.print()
    out.print(_table(rules))


def as_yaml(policy: Policy) -> str:
    """A policy as a file that `read_policy` reads."""
    text: str = yaml.safe_dump(policy.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _judged(claim: ClaimView) -> list[tuple[str, Text | str]]:
    value = "–" if claim.value is None else f"{claim.value:g}"
    decided = f" by the {claim.scale_source}" if claim.scale_source else ""
    read_as = (
        f"{value} read as a {claim.scale}{decided}: {percent(claim.claimed)}" if claim.scale else "not decided yet"
    )
    tolerance = "known once it is planned" if claim.tolerance is None else points(claim.tolerance)
    return [("claim", claim.id), ("score", read_as), ("tolerance", tolerance)]


def _table(rules: tuple[Rule, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    for heading in ("rule", "value", "from"):
        table.add_column(heading, overflow="fold")
    for rule in rules:
        table.add_row(rule.name, shown("–" if rule.value is None else str(rule.value)), shown(rule.source))
    return table
