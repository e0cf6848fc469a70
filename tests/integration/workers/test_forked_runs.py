"""Runs are forked from a server that has imported what they need; with real processes.

Where it is the server that dies, its errands only wait: it has imported nothing, which a run's takes many seconds for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support import waiting_errands
from tests.support.shared_runs import BorrowedRuns, shared_runs
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from tests.support.waiting_errands import server_of_waiting
from workers.processes.forked import Forked
from workers.runs.forked_run import RunServer
from workers.runs.run_request import REQUEST_FILE


@pytest.fixture
def server() -> RunServer:
    return shared_runs()


def ended(run: Forked) -> int:
    status = run.wait(PROCESS_PATIENCE_SECONDS)
    assert status is not None
    return status


def waiting_run(server: RunServer, folder: Path) -> Forked:
    """A run that waits for its order."""
    return server.start([str(folder)], {"MINE": "1"}, folder, folder / "run.log")


def processes_in(folder: Path) -> list[psutil.Process]:
    """The guard and the run that work in a folder."""
    return [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(folder)]


def test_a_run_whose_order_cannot_be_read_ends_and_says_why_in_its_log(server: RunServer, tmp_path: Path) -> None:
    (tmp_path / REQUEST_FILE).write_text("{}")
    assert ended(waiting_run(server, tmp_path)) == 1
    assert "RunRequest" in (tmp_path / "run.log").read_text()


def test_two_runs_have_a_process_each_and_one_can_be_stopped(server: RunServer, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (waiting_run(server, folder) for folder in folders)
    until(lambda: all(len(processes_in(folder)) == 2 for folder in folders))
    family = processes_in(folders[0])
    one.stop()
    assert psutil.wait_procs(family, timeout=300)[1] == []
    assert one.poll() == 128 + signal.SIGTERM
    assert two.poll() is None
    two.stop()


def test_a_run_that_is_killed_says_so(server: RunServer, tmp_path: Path) -> None:
    run = waiting_run(server, tmp_path)
    until(lambda: len(processes_in(tmp_path)) == 2)
    guard, child = sorted(processes_in(tmp_path), key=lambda each: each.create_time())
    assert child.parent() == guard
    child.kill()
    assert ended(run) == 128 + signal.SIGKILL


def test_a_server_that_dies_takes_its_errands_along_and_the_next_errand_gets_another(tmp_path: Path) -> None:
    server, folder = server_of_waiting(tmp_path / "server"), tmp_path / "errand"
    folder.mkdir()
    errand = server.fork([], {}, folder, folder / "log", grace_seconds=10)
    until(lambda: len(processes_in(folder)) == 2)
    family = processes_in(folder)
    guard = min(family, key=lambda each: each.create_time())
    parent = guard.parent()
    assert parent is not None
    parent.kill()
    assert ended(errand) == 128 + signal.SIGKILL
    assert psutil.wait_procs(family, timeout=300)[1] == []
    again = server.fork(["7"], {}, folder, folder / "log", grace_seconds=10)
    assert ended(again) == 7
    server.stop()


FORKS_NOT_AT_FIRST = """
import os, sys
from pathlib import Path
from workers.processes import fork_server
fork = os.fork
def never():
    os.fork = fork
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = never
fork_server.serve(fork_server.listen(Path(sys.argv[1])), lambda _: 7)
"""


def test_a_run_that_cannot_be_forked_does_not_end_those_that_go_on(tmp_path: Path) -> None:
    server = subprocess.Popen([sys.executable, "-c", FORKS_NOT_AT_FIRST, str(tmp_path)])
    try:
        runs = BorrowedRuns(tmp_path)
        first, second = (runs.start([], {}, tmp_path, tmp_path / "run.log") for _ in range(2))
        assert (ended(first), ended(second), server.poll()) == (128 + signal.SIGKILL, 7, None)
    finally:
        server.kill()
        server.wait()


def test_a_worker_that_is_killed_leaves_neither_server_nor_errand(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.support.waiting_errands import server_of_waiting;"
        "folder = Path(sys.argv[1]); server = server_of_waiting(folder / 'server');"
        "errand = server.fork([], {}, folder, folder / 'log', grace_seconds=10);"
        "time.sleep(3600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        until(lambda: len(processes_in(tmp_path)) == 2, patience_seconds=PROCESS_PATIENCE_SECONDS)
        family = processes_in(tmp_path)
        server = min(family, key=lambda each: each.create_time()).parent()
        assert server is not None
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert psutil.wait_procs([*family, server], timeout=300)[1] == []


def test_a_run_does_not_see_the_workers_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_WORKER_HUB_TOKEN", "secret")
    # A server of runs in all but what it imports and does.
    server = RunServer(tmp_path / "server", tmp_path / "cache")
    monkeypatch.setattr(server, "_module", waiting_errands.MODULE)
    monkeypatch.setitem(server._environment, "PYTHONPATH", str(waiting_errands.PROJECT))
    run = server.start(["environment"], {"MINE": "1"}, tmp_path, tmp_path / "run.log")
    assert ended(run) == 0
    seen = json.loads((tmp_path / "run.log").read_text())
    assert (seen["MINE"], seen["HF_HUB_OFFLINE"]) == ("1", "1")
    assert "REPROFARM_WORKER_HUB_TOKEN" not in seen
    # A fork can read what the server was started with.
    family = processes_in(tmp_path / "server")
    assert len(family) == 2
    for each in family:
        assert "REPROFARM_WORKER_HUB_TOKEN" not in each.environ()
    server.stop()
