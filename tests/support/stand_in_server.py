"""What stand-in engines are forked from: `python -m tests.support.stand_in_server FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support import stand_in_engine
from workers.processes.fork_server import listen, serve

DRIVER = "STAND_IN_DRIVER"
"""Names a file without which no device is found. As vLLM does, it is looked for once."""

_FOUND = Path(os.environ.get(DRIVER, "/")).exists()


def main(arguments: list[str]) -> None:
    """Be a stand-in engine, with a file in the usual place for temporary ones."""
    if not _FOUND:
        raise RuntimeError("Failed to infer device type")
    (Path(os.environ["TMPDIR"]) / "socket").touch()
    sys.argv = ["stand_in_engine", "--family", "2", *arguments]
    stand_in_engine.main()


if __name__ == "__main__":
    serve(listen(Path(sys.argv[1])), main)
