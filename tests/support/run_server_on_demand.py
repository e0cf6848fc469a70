"""`workers.runs.run_server`, for tests that may want a run or not: it imports once somebody does.

It does scripts too, in a process that has imported what a run has: `tests.support.shared_runs.printed_by`.
"""

from __future__ import annotations

import runpy
import select
import sys
from pathlib import Path

from specs.processes.garbage import collect_rarely
from tests.support.shared_runs import IMPORTED
from workers.processes.fork_server import listen, serve
from workers.runs import run_server


def main(arguments: list[str]) -> None:
    """Be a run, whose argument is its folder, or a script of Python with its arguments."""
    if not arguments[0].endswith(".py"):
        run_server.main(arguments)
        return
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    collect_rarely()
    _folder = Path(sys.argv[1])
    _listener = listen(_folder)
    select.select([_listener], [], [])

    from workers.runs import runner  # noqa: F401 - what takes long
    from workers.runs.late_imports import import_what_comes_late

    import_what_comes_late()
    (_folder / IMPORTED).touch()
    serve(_listener, main)
