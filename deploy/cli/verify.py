"""`reprofarm verify`: have what a model claims on a benchmark verified, and wait for it if that is wanted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from deploy.cli.actions import actions_at
from deploy.cli.follow import follow
from deploy.cli.intervene import tell
from deploy.cli.options import DEFAULT_VAR, AsJson, OtherApi, Var, Why, followed_farm_at
from deploy.cli.show import exit_code
from deploy.cli.terminal import MAX_LINE_CHARS, MISMATCH, OK, UNDECIDED, console, print_json, shown
from deploy.client import ClaimFilter, FarmClient
from specs.api_v1.actions import VerificationRequest
from specs.api_v1.claims import ClaimView
from specs.api_v1.views import MAX_PAGE
from specs.errors import SubmissionError
from specs.validation_errors import fault

LOOK_SECONDS = 300.0
"""A model that the farm did not know is looked at within seconds; a Hub that is away takes longer."""

LOOK_PAUSE_SECONDS = 1.0


def verify(  # noqa: PLR0913, PLR0917 - typer's options are arguments
    model: Annotated[str, typer.Argument(metavar="MODEL", help="OWNER/NAME.", show_default=False)],
    benchmark: Annotated[
        str, typer.Argument(metavar="DATASET[/TASK]", help="OWNER/NAME, or OWNER/NAME/TASK.", show_default=False)
    ],
    revision: Annotated[
        str | None, typer.Option(help="Only what it claims there in its repo: main, refs/pr/3, or a commit.")
    ] = None,
    why: Why = "asked for by hand",
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow it until it is decided or waits for something (blocked).")
    ] = False,
    var: Var = DEFAULT_VAR,
    api: OtherApi = None,
    as_json: AsJson = False,
) -> None:
    """Have what a model claims on a benchmark verified, by a fresh run where it was before.

    A model that the farm has not seen is looked at first. With --wait, a farm that is away for up to five minutes is
    waited for. Exit codes: 0 asked for; with --wait, 0 verified, 1 mismatch, 2 not decided (inconclusive, unsupported,
    failed, blocked or rejected), the worst of several; 3 error. With --json:
    {"lines", "claim_ids"}; with --wait the claims, as the API gives them.
    """
    asked = request(model, benchmark, revision, why)
    if not wait:
        with actions_at(api, var) as farm:
            tell(farm.verify(asked), as_json=as_json)
        return
    out = console(stderr=as_json)
    with followed_farm_at(api, var) as reading:
        before = reading.last_event()
        with actions_at(api, var) as farm:
            done = farm.verify(asked)
        for line in done.lines:
            out.print(shown(line, MAX_LINE_CHARS), soft_wrap=True)
        claims = follow(reading, done.claim_ids or found_later(reading, asked, before, out), out)
    if as_json:
        print_json(claims)
    raise typer.Exit(worst(claims))


def request(model: str, benchmark: str, revision: str | None, why: str) -> VerificationRequest:
    """What is asked for.

    Raises:
        SubmissionError: a name is none that the Hub has.
    """
    dataset, task = split_benchmark(benchmark)
    try:
        return VerificationRequest(model=model, dataset=dataset, task=task, revision=revision, why=why)
    except ValidationError as error:
        raise SubmissionError("; ".join(map(fault, error.errors()))) from error


def found_later(farm: FarmClient, asked: VerificationRequest, before: str | None, out: Console) -> list[str]:
    """The claims of a model that the farm had to look at first, once it has; none, and `out` says why, else.

    `before` is the cursor of the last event before it was asked to.
    """
    give_up = time.monotonic() + LOOK_SECONDS
    wanted = ClaimFilter(model=asked.model, dataset=asked.dataset, task=asked.task, revision=asked.revision)
    why = f"nothing was found within {LOOK_SECONDS:.0f} s; the farm goes on looking"
    while time.monotonic() < give_up:
        # Read before the claims: whatever a look finds is there when it says how it went.
        looks = [event for event in farm.timeline_of_model(asked.model, before).items if event.what == "looked_at"]
        found = [claim.id for claim in farm.claims(wanted, MAX_PAGE).items if claim.state != "withdrawn"]
        if found:
            return found
        if looks:
            why = looks[-1].why
            break
        time.sleep(LOOK_PAUSE_SECONDS)
    out.print(shown(f"no claim to wait for: {why}", MAX_LINE_CHARS), soft_wrap=True)
    return []


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
