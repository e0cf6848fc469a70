"""The process that runs are forked from: `python -m workers.runs.run_server FOLDER`.

Importing lighteval takes many seconds of a core, which is longer than many a run: `workers.processes.fork_server`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NICENESS = 5


def main(arguments: list[str]) -> None:
    """Be the run in the folder that is the only argument."""
    from workers.runs import runner  # noqa: PLC0415 - the server has it by now

    # What waits for an engine gives way to the engine, where they share cores.
    os.nice(_NICENESS)
    runner.main(Path(arguments[0]))


if __name__ == "__main__":
    from specs.processes.garbage import collect_rarely

    collect_rarely()
    from workers.processes.fork_server import listen, serve

    # Before the import, so that whoever asks meanwhile waits in line.
    _listener = listen(Path(sys.argv[1]))

    from workers.runs import runner  # noqa: F401 - what takes long
    from workers.runs.late_imports import import_what_comes_late

    import_what_comes_late()
    serve(_listener, main)
