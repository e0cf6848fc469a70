"""`reprofarm workers` and `reprofarm pools`: who there is to run what waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.options import DEFAULT_VAR, Api, AsJson, VarOfApi, farm_at
from deploy.cli.terminal import MAX_LINE_CHARS, ago, console, print_json_list, shown
from specs.api_v1.workers import DeviceMemoryView, LoadedEngineView, PoolView, WorkerView

GIB = 1024**3
STYLES = {"busy": "green", "quarantined": "red", "lost": "red", "draining": "yellow"}


def workers(
    pool: Annotated[str | None, typer.Option(help="Of this pool.")] = None,
    state: Annotated[str | None, typer.Option(help="idle, busy, draining, quarantined or lost.")] = None,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """List the workers and what they run. With --json: {"items": […], "next": null}, workers as the API gives them."""
    with farm_at(api, var) as farm:
        found = farm.workers(pool, state)
    if as_json:
        print_json_list(found)
        return
    out = console()
    if not found:
        out.print("no such worker" if pool or state else "no worker has spoken to this farm yet")
        return
    out.print(_table_of_workers(found))
    # Below, and whole: what an operator has to know has no room in a line.
    for worker in found:
        if worker.reason:
            out.print(shown(f"{worker.name} is {worker.state}: {worker.reason}", MAX_LINE_CHARS), soft_wrap=True)


def pools(as_json: AsJson = False, var: VarOfApi = DEFAULT_VAR, api: Api = None) -> None:
    """List the pools and what waits and runs in each.

    With --json: {"items": […], "next": null}, pools as the API gives them.
    """
    with farm_at(api, var) as farm:
        found = farm.pools()
    if as_json:
        print_json_list(found)
        return
    console().print(_table_of_pools(found))


def _table_of_workers(found: list[WorkerView]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("worker", "pool", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("heard of", justify="right", no_wrap=True)
    table.add_column("free memory", justify="right", overflow="fold")
    table.add_column("GPUs", overflow="fold")
    table.add_column("engine", overflow="fold")
    for worker in found:
        table.add_row(
            shown(worker.name),
            shown(worker.pool),
            Text(worker.state, style=STYLES.get(worker.state, "")),
            ago(worker.since),
            f"{ago(worker.seen_at)} ago",
            _free(worker.memory),
            _health(worker.memory),
            _engine(worker.engine),
        )
    return table


def _free(memory: tuple[DeviceMemoryView, ...]) -> str:
    return ", ".join(f"{each.free_bytes / GIB:.1f} of {each.total_bytes / GIB:.1f} GiB" for each in memory) or "–"


def _health(memory: tuple[DeviceMemoryView, ...]) -> Text:
    """Temperatures, and what is wrong with whom."""
    told = [(each.device, each.health) for each in memory if each.health is not None]
    degrees = [health.temperature_celsius for _, health in told if health.temperature_celsius is not None]
    said = [Text(", ".join(f"{each} °C" for each in degrees))] if degrees else []
    for device, health in told:
        for words, style in ((health.sickness, "red"), ("; ".join(health.worries) or None, "yellow")):
            if words is not None:
                said.append(shown(f"{device}: {words}", 300, style))
    return Text("; ").join(said) if said else Text("no fault known" if told else "–")


def _engine(engine: LoadedEngineView | None) -> Text:
    if engine is None:
        return Text("–")
    speed = "" if engine.tokens_per_second is None else f", {engine.tokens_per_second:.0f} tokens/s"
    return shown(f"{engine.model} at {engine.revision[:12]}{speed}")


def _table_of_pools(found: list[PoolView]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("pool", no_wrap=True)
    table.add_column("device", no_wrap=True)
    for heading in ("queued", "dispatched", "running", "workers", "ready", "longest wait"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pool in found:
        longest = pool.oldest_wait_seconds
        waited = "–" if longest is None else ago(datetime.now(UTC) - timedelta(seconds=longest))
        counts = (pool.queued, pool.dispatched, pool.running, pool.workers_alive, pool.workers_ready)
        table.add_row(shown(pool.name), shown(_device(pool)), *(str(count) for count in counts), waited)
    return table


def _device(pool: PoolView) -> str:
    if pool.device is None:
        return "not in policy"
    gpus = f"{pool.gpus} × " if pool.gpus else ""
    return f"{pool.device}, {gpus}{pool.memory_gib:g} GiB"
