"""`reprofarm up`: a farm on this machine, in the foreground."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from deploy.cli.doctor.services import settings
from deploy.cli.options import DEFAULT_VAR, VAR_ENV, HubUrl, PolicyFile
from deploy.cli.terminal import console, shown
from deploy.client.farm import DEFAULT_API
from deploy.farm.environments import Plan, api_host
from deploy.farm.farm import RunningFarm, running_farm
from deploy.farm.ports import is_free
from deploy.farm.processes import Processes
from specs.processes.secrets import masked_url
from workers.processes.ports import free_port

DEFAULT_PORT = int(DEFAULT_API.rpartition(":")[2])
LOOK_SECONDS = 0.5
MAX_LINE_CHARS = 2000


def up(
    var: Annotated[
        Path, typer.Option(envvar=VAR_ENV, help="Folder for database, keys, evidence, caches and logs.")
    ] = DEFAULT_VAR,
    policy: PolicyFile = None,
    hub: HubUrl = None,
    api_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help=f"Port of the API, 0 for a free one; {DEFAULT_PORT}, or a free one."),
    ] = None,
) -> None:
    """Start the farm on this machine and keep it running until Ctrl-C.

    Other settings come from the environment (`REPROFARM_…`, see docs/operator.md).
    """
    out = console()
    misspelt = settings(os.environ)
    if misspelt.status != "ok":
        out.print(shown(f"{misspelt.found}: {misspelt.remedy}", MAX_LINE_CHARS, style="yellow"), soft_wrap=True)
    out.print(f"starting a farm in {var}: Redis, API, control worker, beat, one worker for each pool", soft_wrap=True)
    operator = dict(os.environ)
    port = _port(api_port, api_host(operator))
    plan = Plan(folder=var, api_port=port, hub_endpoint=hub, policy=policy, operator=operator)
    processes = Processes(var, var / "logs")
    stop_like_ctrl_c()
    try:
        with running_farm(plan, processes) as farm:
            _tell(out, farm, var)
            while True:
                processes.check()
                _print_new_lines(out, processes)
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        out.print("stopped")


def stop_like_ctrl_c() -> None:
    """Have SIGTERM, and the end of the terminal, stop this process as Ctrl-C does, so that all is taken down in order.

    SIGINT too: a script's shell starts what it puts into the background with that ignored, and Python leaves it so. One
    that ignores SIGHUP was told to outlive its terminal (`nohup`).
    """
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _stop_for_good)


def _stop_for_good(received: int, frame: FrameType | None) -> None:
    # Of a terminal that is closed both its shell and the kernel tell, and the second word would end the taking down.
    signal.signal(received, signal.SIG_IGN)
    signal.default_int_handler(received, frame)


def _port(wanted: int | None, host: str) -> int:
    if wanted is None:
        return DEFAULT_PORT if is_free(host, DEFAULT_PORT) else free_port()
    return wanted or free_port()


def _tell(out: Console, farm: RunningFarm, var: Path) -> None:
    hub = masked_url(farm.hub_url)
    out.print(f"the farm is up: pages and API {farm.api_url}, Hub {hub}, logs in {var / 'logs'}", soft_wrap=True)
    out.print("Ctrl-C stops it within half a minute; runs in flight go on at the next start")


def _print_new_lines(out: Console, processes: Processes) -> None:
    width = max(len(log.name) for log in processes.logs)
    for log in processes.logs:
        for line in log.new_lines():
            out.print(f"{log.name:{width}} | ", end="", style="dim")
            out.print(shown(line, MAX_LINE_CHARS), soft_wrap=True)
