"""`reprofarm claims`: what was submitted, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deploy.cli.listing import Column, Reason, print_listing
from deploy.cli.options import DEFAULT_VAR, Api, AsJson, VarOfApi, farm_at
from deploy.cli.terminal import MAX_REASON_CHARS, ago, console, percent, print_json, shown
from deploy.client import ClaimFilter
from specs.api_v1.claims import ClaimView

SHOWN_ID_CHARS = 8
NONE_YET = "no claims yet: a farm finds them at its next scan, on the benchmarks that its policy watches"

STYLES = {
    "verified": "green",
    "mismatch": "red",
    "inconclusive": "yellow",
    "unsupported": "dim",
    "failed": "magenta",
    "rejected": "magenta",
    "blocked": "yellow",
    "withdrawn": "dim",
}


def claims(  # noqa: PLR0913, PLR0917 - typer's options are arguments
    model: Annotated[str | None, typer.Option(help="Of this model, OWNER/NAME.")] = None,
    dataset: Annotated[str | None, typer.Option(help="On this benchmark, OWNER/NAME.")] = None,
    task: Annotated[str | None, typer.Option(help="On this task of a benchmark.")] = None,
    revision: Annotated[
        str | None, typer.Option(help="At this revision of --model's repo: main, refs/pr/3, or a commit.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="submitted, planned, blocked, decided, rejected or withdrawn.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="verified, mismatch, inconclusive, unsupported or failed.")
    ] = None,
    submitter: Annotated[str | None, typer.Option(help="By this Hub user.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="In its state since then, UTC, or later."),
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="With this part in the id of its model or benchmark; two characters or more.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after an earlier list; its `next`.")] = None,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """List claims, newest first.

    With --json: {"items": […], "next": cursor or null}, claims as the API gives them.
    """
    came = since.replace(tzinfo=UTC).isoformat() if since is not None else None
    wanted = ClaimFilter(model, dataset, task, state, outcome, submitter, came, search, revision)
    with farm_at(api, var) as farm:
        page = farm.claims(wanted, limit, cursor)
    if as_json:
        print_json(page)
        return
    out = console()
    if not page.items:
        out.print("no such claim" if wanted != ClaimFilter() else NONE_YET)
        return
    _print_table(out, page.items)
    if page.next:
        out.print(f"there are more: --limit, or --cursor {page.next}", soft_wrap=True)


def status_of(claim: ClaimView) -> Text:
    """The one word that says how a claim stands: its outcome once it has one, else its state."""
    word = str(claim.verdict.outcome) if claim.verdict else claim.state
    if claim.state == "planned" and claim.reproduction:
        word = claim.reproduction.state
    if claim.state == "withdrawn" and claim.verdict:
        word = f"{word}, withdrawn"
    return Text(word, style=STYLES.get(word.partition(",")[0], "cyan"))


def written(claim: ClaimView) -> str:
    """What a claim says: as a percentage once its scale is known, else as its author wrote it."""
    if claim.claimed is not None:
        return percent(claim.claimed)
    return "–" if claim.value is None else f"{claim.value:g}"


def reproduced(claim: ClaimView) -> str:
    """What came out, with its standard error; how far it is while it runs."""
    found = claim.verdict.comparison if claim.verdict else None
    if found and found.reproduced is not None:
        error = "" if found.standard_error is None else f" ± {100 * found.standard_error:.2f}"
        return percent(found.reproduced) + error
    run = claim.reproduction
    if run and run.state == "running" and run.samples_total:
        return f"{run.samples_done}/{run.samples_total} samples"
    if run and run.queue_position:
        return f"number {run.queue_position} in the queue"
    return "–"


def benchmark_of(dataset: str | None, task: str | None) -> str:
    """A task as DATASET/TASK; empty where a claim's entry could not be read."""
    return "/".join(part for part in (dataset, task) if part)


def _print_table(out: Console, found: Sequence[ClaimView]) -> None:
    print_listing(
        out,
        [
            Column("claim", [Text(claim.id[:SHOWN_ID_CHARS]) for claim in found]),
            Column("model", [shown(claim.model) for claim in found], breaks=True),
            Column(
                "benchmark", [shown(benchmark_of(claim.dataset, claim.task) or "–") for claim in found], breaks=True
            ),
            Column("claimed", [Text(written(claim)) for claim in found], number=True),
            Column("reproduced", [Text(reproduced(claim)) for claim in found], number=True),
            Column("status", [status_of(claim) for claim in found]),
            Column("for", [Text(ago(claim.since)) for claim in found], number=True, spare=True),
        ],
        [Reason(shown(_reason(claim), MAX_REASON_CHARS), whole=claim.state == "blocked") for claim in found],
    )


def _reason(claim: ClaimView) -> str:
    if claim.verdict:
        return claim.verdict.reason
    if claim.state == "planned" and claim.reproduction:
        return claim.reproduction.reason
    return claim.reason
