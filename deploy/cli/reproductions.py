"""`reprofarm reproductions`: what runs, what ran, and what waits to run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.claims import SHOWN_ID_CHARS, STYLES, benchmark_of
from deploy.cli.options import Api, AsJson, farm_at
from deploy.cli.terminal import ago, console, percent, print_json, shown
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
    as_json: AsJson = False,
    *,
    api: Api,
) -> None:
    """List reproductions, newest first. With --json: a list, as the API gives them."""
    wanted = ReproductionFilter(model, dataset, task, state, pool)
    with farm_at(api) as farm:
        found = farm.reproductions(wanted, limit)
    if as_json:
        print_json(found)
        return
    if not found:
        console().print("no such reproduction" if wanted != ReproductionFilter() else "no reproductions yet")
        return
    console().print(_table(found))


def _table(found: list[ReproductionSummary]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("benchmark", overflow="fold")
    table.add_column("pool", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("how far", justify="right", no_wrap=True)
    table.add_column("why", overflow="ellipsis", no_wrap=True, ratio=1)
    for run in found:
        table.add_row(
            run.id[:SHOWN_ID_CHARS],
            shown(run.model),
            shown(benchmark_of(run.dataset, run.task)),
            shown(run.pool),
            Text(run.state, style=STYLES.get(run.state, "")),
            ago(run.since),
            how_far(run),
            shown(run.reason),
        )
    return table


def how_far(run: ReproductionSummary) -> str:
    """Samples and score of the current attempt, or its place in the queue."""
    if run.queue_position is not None:
        return f"number {run.queue_position}"
    if run.samples_total is None:
        return "–"
    score = "" if run.score is None else f", {percent(run.score)}"
    return f"{run.samples_done}/{run.samples_total}{score}"
