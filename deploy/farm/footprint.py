"""How soon a farm is up and how much memory its processes take: `make footprint`. No engine is started."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from deploy.farm.environments import Plan
from deploy.farm.farm import running_farm
from deploy.farm.processes import Processes
from workers.processes.ports import free_port

SETTLE_SECONDS = 10.0
"""Until every process has done its first round of work."""

MIB = 2**20


def measure(folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds until the API is ready, and resident MiB of each process with all that it started."""
    processes = Processes(folder, folder / "logs")
    plan = Plan(folder / "farm", free_port(), hub_endpoint=f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with running_farm(plan, processes):
        up_seconds = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        sizes = {name: sum(_resident(pid)) / MIB for name, pid in processes.pids.items()}
    return up_seconds, sizes


def _resident(pid: int) -> Iterator[int]:
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        yield process.memory_info().rss


def main() -> None:
    """Measure once and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        up_seconds, sizes = measure(Path(folder))
    table = Table("process", "resident MiB", title=f"API ready after {up_seconds:.1f} s")
    for name, size in sorted(sizes.items()):
        table.add_row(name, f"{size:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
