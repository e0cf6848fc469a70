"""`reprofarm claims`: what was submitted, and how far it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.options import Api, AsJson, farm_at
from deploy.cli.terminal import ago, console, percent, print_json, shown
from deploy.client import ClaimFilter
from specs.api_v1.claims import ClaimView
from specs.api_v1.views import Page

SHOWN_ID_CHARS = 8
OTHER_CHARS = 75
"""Of a line: what is beside the names, with the beginning of a reason. Where there is less, `show` has the reasons."""

MAX_NAME_CHARS = 45

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
    *,
    api: Api,
) -> None:
    """List claims, newest first.

    With --json: {"items": […], "next": cursor or null}, claims as the API gives them.
    """
    came = since.replace(tzinfo=UTC).isoformat() if since is not None else None
    wanted = ClaimFilter(model, dataset, task, state, outcome, submitter, came, search)
    with farm_at(api) as farm:
        page = farm.claims(wanted, limit, cursor)
    if as_json:
        print_json(page)
        return
    out = console()
    if not page.items:
        out.print("no such claim" if wanted != ClaimFilter() else NONE_YET)
        return
    out.print(_table(page, out.width))
    if page.next:
        out.print(f"there are more: --limit, or --cursor {page.next}")


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


def _table(page: Page[ClaimView], width: int) -> Table:
    rows = [(claim, shown(claim.model), shown(benchmark_of(claim.dataset, claim.task) or "–")) for claim in page.items]
    with_reasons = width >= OTHER_CHARS + _width([row[1] for row in rows]) + _width([row[2] for row in rows])
    # The reasons get what the rest leaves: a long one would else squeeze all other columns with its own.
    table = Table(box=None, pad_edge=False, header_style="bold", expand=with_reasons)
    table.add_column("claim", no_wrap=True)
    # Where there are reasons, they are cut short before the names are.
    for heading, names in (("model", [row[1] for row in rows]), ("benchmark", [row[2] for row in rows])):
        table.add_column(heading, overflow="fold", min_width=_width(names) if with_reasons else None)
    table.add_column("claimed", justify="right", no_wrap=True)
    table.add_column("reproduced", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    if with_reasons:
        table.add_column("for", justify="right", no_wrap=True)
        table.add_column("why", overflow="ellipsis", no_wrap=True, ratio=1)
    for claim, model, benchmark in rows:
        cells: list[Text | str] = [
            claim.id[:SHOWN_ID_CHARS],
            model,
            benchmark,
            written(claim),
            reproduced(claim),
            status_of(claim),
        ]
        if with_reasons:
            cells += [ago(claim.since), shown(_reason(claim))]
        table.add_row(*cells)
    return table


def _width(names: list[Text]) -> int:
    return min(MAX_NAME_CHARS, max(name.cell_len for name in names))


def _reason(claim: ClaimView) -> str:
    if claim.verdict:
        return claim.verdict.reason
    if claim.state == "planned" and claim.reproduction:
        return claim.reproduction.reason
    return claim.reason
