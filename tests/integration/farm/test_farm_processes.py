"""The farm's processes: real ones, started, watched and stopped. None is left behind, however the supervisor ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli import up
from deploy.farm.environments import Plan
from deploy.farm.errors import FarmError, ProcessEnded
from deploy.farm.farm import running_farm
from deploy.farm.logs import Log
from deploy.farm.processes import Process, Processes
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, is_gone, until
from workers.processes.guarded import clean_environment

# Starts a child of its own, writes both process ids, and would go on for ever. It takes SIGTERM to stop itself alone.
PARENT_OF_ONE = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
time.sleep(1000)
"""

SUPERVISOR = """
import sys, time
from pathlib import Path
from deploy.farm.processes import Process, Processes
from workers.processes.guarded import clean_environment
folder, script = Path(sys.argv[1]), sys.argv[2]
processes = Processes(folder, folder / "logs")
for name in ("one", "two"):
    processes.start(Process(name, [sys.executable, "-c", script, str(folder / name)], clean_environment()))
time.sleep(1000)
"""


def pids_in(file: Path) -> list[int]:
    until(lambda: file.exists() and len(file.read_text().split()) == 2)
    return [int(pid) for pid in file.read_text().split()]


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def test_all_processes_and_their_children_stop(processes: Processes, tmp_path: Path) -> None:
    for name in ("one", "two"):
        processes.start(Process(name, python(PARENT_OF_ONE, str(tmp_path / name)), clean_environment()))
    pids = pids_in(tmp_path / "one") + pids_in(tmp_path / "two")
    processes.check()
    processes.stop()
    assert all(map(is_gone, pids))
    assert processes.pids == {}


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    environment = clean_environment(PYTHONPATH=os.pathsep.join(sys.path))
    supervisor = subprocess.Popen(python(SUPERVISOR, str(tmp_path), PARENT_OF_ONE), env=environment)
    try:
        pids = pids_in(tmp_path / "one") + pids_in(tmp_path / "two")
    finally:
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
    until(lambda: all(map(is_gone, pids)))


@pytest.mark.parametrize("so", [False, True], ids=["nothing answers", "a stranger answers"])
def test_a_process_that_ends_is_reported_with_its_last_lines(processes: Processes, so: bool) -> None:
    script = "import sys; print('no such table'); sys.exit(3)"
    processes.start(Process("short", python(script), clean_environment()))
    until(lambda: is_gone(processes.pids["short"]) or not so)
    with pytest.raises(ProcessEnded, match=r"(?s)short ended with status 3.*no such table") as caught:
        processes.wait_until("the end of time", lambda: so, PROCESS_PATIENCE_SECONDS)
    assert caught.value.name == "short"


@pytest.mark.parametrize(
    ("host", "free"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound for long
        ("::1", True),
        # The API says by itself that it cannot listen there.
        ("192.0.2.1", True),
        ("a" * 64, True),
    ],
)
def test_a_port_is_looked_at_where_the_api_is_to_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, free: bool
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as stranger:
        port = stranger.getsockname()[1]
        monkeypatch.setattr(up, "DEFAULT_PORT", port)
        assert (up._port(None, host) == port) == free
        if not free:
            plan = Plan(tmp_path / "var", port, operator={"REPROFARM_API_HOST": host})
            processes = Processes(tmp_path, tmp_path / "logs")
            with pytest.raises(FarmError, match=f"port {port} of {host} is taken"), running_farm(plan, processes):
                raise AssertionError("it came up")


def test_waiting_ends_and_says_for_what(processes: Processes) -> None:
    with pytest.raises(FarmError, match="the moon is not there"):
        processes.wait_until("the moon", lambda: False, 0.0)


def test_a_process_sees_only_the_environment_it_is_given(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPROFARM_HUB_TOKEN", "hf_secret")
    script = "import os; print(*os.environ, sep='\\n', flush=True); import time; time.sleep(1000)"
    processes.start(Process("nosy", python(script), clean_environment(MINE="1")))
    (log,) = processes.logs
    until(lambda: "MINE" in log.tail(1000))
    assert "REPROFARM_HUB_TOKEN" not in log.tail(1000)


def test_a_log_is_read_line_by_line_and_that_of_the_last_run_is_kept(tmp_path: Path) -> None:
    log = Log.fresh("api", tmp_path)
    with log.path.open("ab") as file:
        file.write(b"one\ntw")
        file.flush()
        assert log.new_lines() == ["one"]
        file.write(b"o\n50 %\r100 %\n\xff\n")
    assert log.new_lines() == ["two", "100 %", "\ufffd"]
    assert log.tail(2) == ["100 %", "\ufffd"]
    assert Log.fresh("api", tmp_path).tail() == []
    assert (tmp_path / "api.log.1").read_bytes().startswith(b"one\n")
