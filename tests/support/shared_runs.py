"""One server of runs for all workers of all test processes: each of its own would import lighteval again."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.support.waiting import PROCESS_PATIENCE_SECONDS
from workers.processes.fork_server import short_path
from workers.runs.forked_run import RunServer

PROJECT = Path(__file__).resolve().parents[2]
KEPT = "RUNS_OF_TESTS"
"""The folder of the server that another test process keeps."""

IMPORTED = "imported"
"""In that folder once it has imported what runs need, which is when somebody wants one."""


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


class _OnDemand(RunServer):
    """One that imports what runs need once somebody wants a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder / "cache")
        self._module = "tests.support.run_server_on_demand"
        self._environment |= {"PYTHONPATH": str(PROJECT)}


@cache
def shared_runs() -> BorrowedRuns:
    """The server of all test processes."""
    return BorrowedRuns(Path(os.environ.get(KEPT) or _kept()))


def others_have_imported() -> bool:
    """Whether another process keeps a server from which something can be forked at once."""
    return KEPT in os.environ and (Path(os.environ[KEPT]) / IMPORTED).exists()


def printed_by(script: Path, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> str:
    """What a script of Python prints that is done in `folder`, in a process that has imported what a run has."""
    log = folder / f"{script.stem}.log"
    done = shared_runs().start([str(script), *arguments], environment, folder, log)
    status = done.wait(PROCESS_PATIENCE_SECONDS)
    done.stop()
    said = log.read_text()
    assert status == 0, said[-4000:]
    return said


def keep_runs_for_others() -> None:
    """Keep the server of test processes that this one starts."""
    os.environ[KEPT] = str(_kept())


def _kept() -> Path:
    """The folder of a server that is there for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-runs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kept = _OnDemand(folder)
    kept.begin()
    atexit.register(kept.stop)
    return folder
