"""A fork server whose errands end with the status that they are told, say their environment, or wait.

It has imported nothing for them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from workers.processes.fork_server import listen, serve
from workers.processes.forked import ForkServer
from workers.processes.guarded import clean_environment

MODULE = "tests.support.waiting_errands"
PROJECT = Path(__file__).resolve().parents[2]


def server_of_waiting(folder: Path) -> ForkServer:
    """One that is started when it is wanted."""
    return ForkServer(MODULE, folder, clean_environment(PYTHONPATH=str(PROJECT)))


def main(arguments: list[str]) -> int:
    """Be an errand."""
    if not arguments:
        time.sleep(3600)
    if arguments == ["environment"]:
        sys.stdout.write(json.dumps(dict(os.environ)))
        return 0
    return int(arguments[0])


if __name__ == "__main__":
    serve(listen(Path(sys.argv[1])), main)
