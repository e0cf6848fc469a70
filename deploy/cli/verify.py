"""`reprofarm verify`: have what a model claims on a benchmark verified, and wait for it if that is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.acting import acting
from deploy.cli.follow import follow
from deploy.cli.intervene import tell
from deploy.cli.options import AsJson, OtherApi, Var, Why, default_api, farm_at
from deploy.cli.show import exit_code
from deploy.cli.terminal import MISMATCH, OK, UNDECIDED, console, print_json
from specs.api_v1 import ClaimView
from specs.errors import SubmissionError

DEFAULT_VAR = Path("var")


def verify(  # noqa: PLR0913, PLR0917 - typer's options are arguments
    model: Annotated[str, typer.Argument(metavar="MODEL", help="OWNER/NAME.", show_default=False)],
    benchmark: Annotated[
        str, typer.Argument(metavar="DATASET[/TASK]", help="OWNER/NAME, or OWNER/NAME/TASK.", show_default=False)
    ],
    revision: Annotated[str | None, typer.Option(help="Only what the model claims at this commit of its repo.")] = None,
    why: Why = "asked for by hand",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until there is a verdict.")] = False,
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Have what a model claims on a benchmark verified, by a fresh run where it was before.

    A model that the farm has not seen is looked at first. Exit codes: 0 asked for; with --wait, 0 verified, 1 mismatch,
    2 not decided (inconclusive, unsupported, failed, blocked or rejected), the worst of several; 3 error. With --json:
    {"lines", "claim_ids"}; with --wait the claims, as the API gives them.
    """
    dataset, task = split_benchmark(benchmark)
    with acting(api, var) as farm:
        done = farm.verify(model, dataset, task, revision, why)
    if not wait:
        tell(done, as_json=as_json)
        return
    out = console(stderr=as_json)
    for line in done.lines:
        out.print(line, soft_wrap=True)
    with farm_at(api or default_api()) as reading:
        claims = follow(reading, done.claim_ids, out)
    if as_json:
        print_json([claim.model_dump(mode="json") for claim in claims])
    raise typer.Exit(worst(claims))


def split_benchmark(benchmark: str) -> tuple[str, str | None]:
    """Dataset id and task id.

    Raises:
        SubmissionError: it is neither OWNER/NAME nor OWNER/NAME/TASK.
    """
    parts = benchmark.split("/", 2)
    if len(parts) == 1 or not all(parts):
        raise SubmissionError(f"{benchmark!r} is no benchmark: OWNER/NAME, or OWNER/NAME/TASK")
    return "/".join(parts[:2]), parts[2] if len(parts) > 2 else None


def worst(claims: Iterable[ClaimView]) -> int:
    """What a script is told of several claims: a mismatch before what could not be decided; nothing is undecided."""
    codes = {exit_code(claim) for claim in claims}
    return next((code for code in (MISMATCH, UNDECIDED, OK) if code in codes), UNDECIDED)
