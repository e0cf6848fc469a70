"""`reprofarm noise`: by how much honest re-runs of a benchmark differ."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.claims import Api, AsJson
from deploy.cli.client import FarmClient
from deploy.cli.terminal import console, points, print_json, shown
from specs.api_v1 import NoiseGroup, NoiseView


def noise(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="Of this benchmark, OWNER/NAME; else of all.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of this task of a benchmark.")] = None,
    as_json: AsJson = False,
    *,
    api: Api,
) -> None:
    """Show by how much honest re-runs of a benchmark differ, as this farm measured it.

    The tolerance is what `tolerance: measured` in policy makes of it; where there is none, too few runs were seen. With
    --json: a list of tasks, as the API gives them.
    """
    with FarmClient(api) as farm:
        tasks = farm.noise(dataset, task)
    if as_json:
        print_json([each.model_dump(mode="json") for each in tasks])
        return
    out = console()
    if not tasks:
        out.print("no two runs of the same model, task and settings yet")
        return
    for each in tasks:
        out.print(Text.assemble(shown(_name(each), style="bold"), f"  {each.population} samples"))
        out.print(_table(each))


def _name(task: NoiseView) -> str:
    return "/".join(part for part in (task.dataset, task.task) if part)


def _table(task: NoiseView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("models", no_wrap=True)
    table.add_column("vLLM", overflow="fold")
    table.add_column("hardware", overflow="fold")
    for heading in ("epochs", "pairs", "in common", "spread", "tolerance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in task.groups:
        table.add_row(
            group.model_class or "any",
            _either(group.engines),
            _either(group.hardware),
            str(group.epochs),
            str(group.pairs),
            str(group.samples),
            _spread(group),
            points(group.tolerance),
        )
    return table


def _either(said: tuple[str, ...] | None) -> Text:
    return shown(" and ".join(said)) if said else Text("any")


def _spread(group: NoiseGroup) -> str:
    return "too few" if group.spread is None else points(group.spread)
