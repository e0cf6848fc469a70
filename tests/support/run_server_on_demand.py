"""`workers.runs.run_server`, for tests that may want a run or not: it imports once somebody does."""

from __future__ import annotations

import select
import sys
from pathlib import Path

from specs.processes.garbage import collect_rarely
from workers.processes.fork_server import listen, serve
from workers.runs.run_server import main

if __name__ == "__main__":
    collect_rarely()
    _listener = listen(Path(sys.argv[1]))
    select.select([_listener], [], [])

    from workers.runs import runner  # noqa: F401 - what takes long
    from workers.runs.late_imports import import_what_comes_late

    import_what_comes_late()
    serve(_listener, main)
