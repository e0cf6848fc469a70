"""A Hub in a folder, as a process beside a farm."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.farm.http_probe import answers
from deploy.farm.ports import HOST
from deploy.farm.processes import Process, Processes
from workers.processes.guarded import clean_environment
from workers.processes.ports import free_port

START_SECONDS = 300.0

_SERVE = "from deploy.localhub.cli import app; app()"


def hub(folder: Path, port: int) -> Process:
    """Serves it."""
    command = [sys.executable, "-c", _SERVE, "serve", str(folder), "--port", str(port)]
    return Process("hub", command, clean_environment())


def start_hub(processes: Processes, folder: Path) -> str:
    """Start the Hub in a folder on a free port of this machine and wait until it answers; returns its URL.

    Raises:
        FarmError: it does not come up.
    """
    port = free_port()
    processes.start(hub(folder, port))
    url = f"http://{HOST}:{port}"
    processes.wait_until(f"the Hub at {url}", lambda: answers(url), START_SECONDS)
    return url
