"""One server of runs for all workers of a test process: each of its own would import lighteval again."""

from __future__ import annotations

import atexit
import shutil
import socket
import tempfile
import time
from functools import cache
from pathlib import Path

from workers.processes.fork_server import short_path
from workers.runs.forked_run import RunServer


class BorrowedRuns(RunServer):
    """A server that somebody else keeps; it may come late, or again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder / "cache")
        self.folder = folder

    def _connect(self) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                with short_path(self.folder) as path:
                    connection.connect(path)
            except OSError:
                connection.close()
                time.sleep(0.1)
            else:
                return connection

    def begin(self) -> None:
        """Leave it to its keeper."""

    def stop(self) -> None:
        """Leave it to its keeper."""


@cache
def shared_runs() -> BorrowedRuns:
    """The server of this test process, for as long as that lives."""
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-runs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kept = RunServer(folder, folder / "cache")
    kept.begin()
    atexit.register(kept.stop)
    return BorrowedRuns(folder)
