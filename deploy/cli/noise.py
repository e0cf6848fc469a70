"""`reprofarm noise`: by how much honest re-runs of a benchmark differ."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.claims import SHOWN_ID_CHARS, benchmark_of
from deploy.cli.options import DEFAULT_VAR, Api, AsJson, VarOfApi, farm_at
from deploy.cli.terminal import console, points, print_json_list, shown
from specs.api_v1.noise import NoiseGroup, NoiseView


def noise(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="Of this benchmark, OWNER/NAME; else of all.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of this task of a benchmark.")] = None,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """Show how much honest re-runs of a benchmark differ, as this farm measured it.

    The tolerance is what `tolerance: measured` in policy makes of it; where there is none, too few runs were seen. With
    --json: {"items": […], "next": null}, tasks as the API gives them.
    """
    with farm_at(api, var) as farm:
        tasks = farm.noise(dataset, task)
    if as_json:
        print_json_list(tasks)
        return
    out = console()
    if not tasks:
        out.print("no two runs of the same model, task and settings yet")
        return
    for each in tasks:
        for same in _by_settings(each):
            out.print(_title(each, same[0]))
            out.print(_table(same))


def _by_settings(task: NoiseView) -> list[list[NoiseGroup]]:
    found: dict[str, list[NoiseGroup]] = defaultdict(list)
    for group in task.groups:
        found[group.settings_sha256].append(group)
    return list(found.values())


def _title(task: NoiseView, group: NoiseGroup) -> Text:
    epochs = "1 epoch" if group.epochs == 1 else f"{group.epochs} epochs"
    said = f"  {task.population} samples, {epochs}, settings {group.settings_sha256[:SHOWN_ID_CHARS]}"
    return Text.assemble(shown(benchmark_of(task.dataset, task.task), style="bold"), said)


def _table(groups: list[NoiseGroup]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("models", no_wrap=True)
    table.add_column("vLLM", overflow="fold")
    table.add_column("hardware", overflow="fold")
    for heading in ("pairs", "samples", "spread", "tolerance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        table.add_row(
            group.model_class or "any",
            _either(group.engines),
            _either(group.hardware),
            str(group.pairs),
            str(group.samples),
            "too few" if group.spread is None else points(group.spread),
            points(group.tolerance),
        )
    return table


def _either(said: tuple[str, ...] | None) -> Text:
    return shown(" and ".join(said)) if said else Text("any")
