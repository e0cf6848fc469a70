"""`reprofarm reproductions`: what runs, what ran, and what waits to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deploy.cli.claims import SHOWN_ID_CHARS, STYLES, benchmark_of
from deploy.cli.listing import Column, Reason, print_listing
from deploy.cli.options import DEFAULT_VAR, Api, AsJson, VarOfApi, farm_at
from deploy.cli.terminal import MAX_REASON_CHARS, ago, console, percent, print_json, shown
from deploy.client import ReproductionFilter
from specs.api_v1.reproductions import ReproductionSummary


def reproductions(  # noqa: PLR0913, PLR0917 - typer's options are arguments
    model: Annotated[str | None, typer.Option(help="Of this model, OWNER/NAME.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Of this benchmark, OWNER/NAME.")] = None,
    task: Annotated[str | None, typer.Option(help="Of this task of a benchmark.")] = None,
    state: Annotated[
        str | None, typer.Option(help="queued, dispatched, running, completed, failed or cancelled.")
    ] = None,
    pool: Annotated[str | None, typer.Option(help="In this pool.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after an earlier list; its `next`.")] = None,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """List reproductions, newest first.

    With --json: {"items": […], "next": cursor or null}, reproductions as the API gives them.
    """
    wanted = ReproductionFilter(model, dataset, task, state, pool)
    with farm_at(api, var) as farm:
        page = farm.reproductions(wanted, limit, cursor)
    if as_json:
        print_json(page)
        return
    out = console()
    if not page.items:
        out.print("no such reproduction" if wanted != ReproductionFilter() else "no reproductions yet")
        return
    _print_table(out, page.items)
    if page.next:
        out.print(f"there are more: --limit, or --cursor {page.next}", soft_wrap=True)


def _print_table(out: Console, found: Sequence[ReproductionSummary]) -> None:
    print_listing(
        out,
        [
            Column("id", [Text(run.id[:SHOWN_ID_CHARS]) for run in found]),
            Column("model", [shown(run.model) for run in found], breaks=True),
            Column("benchmark", [shown(benchmark_of(run.dataset, run.task)) for run in found], breaks=True),
            Column("pool", [shown(run.pool) for run in found]),
            Column("state", [Text(run.state, style=STYLES.get(run.state, "")) for run in found]),
            Column("for", [Text(ago(run.since)) for run in found], number=True, spare=True),
            Column("how far", [Text(how_far(run)) for run in found], number=True),
        ],
        [Reason(shown(run.reason, MAX_REASON_CHARS)) for run in found],
    )


def how_far(run: ReproductionSummary) -> str:
    """Samples and score of the current attempt, or its place in the queue."""
    if run.queue_position is not None:
        return f"number {run.queue_position}"
    if run.samples_total is None:
        return "–"
    score = "" if run.score is None else f", {percent(run.score)}"
    return f"{run.samples_done}/{run.samples_total}{score}"
