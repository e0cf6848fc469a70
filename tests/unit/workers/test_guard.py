"""Nothing that a worker starts outlives it; with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import until
from tests.support.worker_bench import bench, stand_in
from workers.processes.guarded import Guarded, clean_environment

ENDLESS = "import time; time.sleep(3600)"


def _start(folder: Path, *command: str, grace_seconds: float = 5.0) -> Guarded:
    return Guarded(
        command, environment=clean_environment(), folder=folder, log=folder / "log", grace_seconds=grace_seconds
    )


def _end(guarded: Guarded, how: str) -> None:
    """Have it end by its guard, or by whoever started that where it cannot."""
    if how == "its guard is killed":
        os.kill(guarded.pid, signal.SIGKILL)
        until(lambda: guarded.poll() is not None)
    guarded.stop()


def _family(pid: int, size: int) -> list[psutil.Process]:
    """The processes below one, once there are so many."""

    def below() -> list[psutil.Process]:
        found = psutil.Process(pid).children(recursive=True)
        return found if len(found) >= size else []

    return until(below)


def test_the_exit_status_is_the_commands(tmp_path: Path) -> None:
    guarded = _start(tmp_path, sys.executable, "-c", "raise SystemExit(7)")
    until(lambda: guarded.poll() is not None)
    assert guarded.poll() == 7


def test_a_signal_shows_in_the_exit_status(tmp_path: Path) -> None:
    guarded = _start(tmp_path, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    until(lambda: guarded.poll() is not None)
    assert guarded.poll() == 128 + signal.SIGKILL


def test_a_signal_that_its_starter_had_blocked_is_not_missed(tmp_path: Path) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        guarded = _start(tmp_path, sys.executable, "-c", "raise SystemExit(7)")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    until(lambda: guarded.poll() is not None)
    assert guarded.poll() == 7


def test_a_command_that_cannot_start_says_so(tmp_path: Path) -> None:
    guarded = _start(tmp_path, str(tmp_path / "nothing"))
    until(lambda: guarded.poll() is not None)
    assert guarded.poll() == 127
    assert "cannot start" in (tmp_path / "log").read_text()


STARTS = {
    "of its own": "guard._start([sys.executable, '-c', 'raise SystemExit(7)'])",
    "that is forked": "fork_server._fork(socket.socket(), errand, lambda _: 7)",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_command_that_is_told_to_end_before_it_has_begun_ends(tmp_path: Path, start: str) -> None:
    code = (
        "import os, signal, socket, sys; from workers.processes import fork_server, guard;"
        "errand = fork_server.Errand("
        "  arguments=(), environment={}, folder='', log='', grace_seconds=5.0, temporary='');"
        # The first that a child of the guard's does.
        "guard.die_with_guard = lambda: os.kill(os.getpid(), signal.SIGTERM);"
        f"sys.exit(guard.run(5.0, lambda: {start}))"
    )
    # Its standard input stays open, or it would be told to stop.
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as guarded:
        assert guarded.wait(300) == 128 + signal.SIGTERM


def test_stopping_ends_children_that_left_for_sessions_of_their_own(tmp_path: Path) -> None:
    guarded = _start(tmp_path, *stand_in("--family", "3", "--never-up"))
    family = _family(guarded.pid, 4)
    guarded.stop()
    assert psutil.wait_procs(family, timeout=300)[1] == []


def test_a_command_that_ends_takes_the_children_it_forgot_with_it(tmp_path: Path) -> None:
    # By which it is told from those of other tests that run meanwhile.
    mine = f"{ENDLESS}  # {tmp_path}"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {mine!r}], start_new_session=True)"
    guarded = _start(tmp_path, sys.executable, "-c", f"{code}; print('started', flush=True); input()")
    until(lambda: guarded.poll() is not None)
    assert guarded.poll() == 1, "input() finds no standard input"
    left = [each for each in psutil.process_iter(["cmdline", "ppid"]) if (each.info["cmdline"] or [])[-1:] == [mine]]
    assert left == []


def test_a_command_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {ENDLESS}"
    guarded = _start(tmp_path, sys.executable, "-c", code, grace_seconds=0.5)
    until(lambda: "deaf" in (tmp_path / "log").read_text())
    guarded.stop()
    assert guarded.poll() == 128 + signal.SIGKILL


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM])
def test_a_starter_that_is_killed_leaves_nothing_behind(tmp_path: Path, deadly: signal.Signals) -> None:
    code = (
        "import sys, time; from pathlib import Path; from workers.processes.guarded import Guarded, clean_environment;"
        "folder = Path(sys.argv[1]);"
        "Guarded(sys.argv[2:], environment=clean_environment(), folder=folder, log=folder / 'log', grace_seconds=1.0);"
        "time.sleep(3600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), *stand_in("--family", "3", "--never-up")]
    starter = subprocess.Popen(command)
    family = _family(starter.pid, 5)
    os.kill(starter.pid, deadly)
    starter.wait()
    assert psutil.wait_procs(family, timeout=300)[1] == []


@pytest.mark.parametrize("looks", ["polls", "stops"])
def test_a_guard_that_is_killed_leaves_nothing_once_its_starter_looks(tmp_path: Path, looks: str) -> None:
    guarded = _start(tmp_path, *stand_in("--family", "3", "--never-up"))
    family = _family(guarded.pid, 4)
    # The EngineCore-like ones are in sessions of their own, and now have no parent of ours.
    os.kill(guarded.pid, signal.SIGKILL)
    if looks == "stops":
        guarded.stop()
    else:
        until(lambda: guarded.poll() is not None)
    assert psutil.wait_procs(family, timeout=300)[1] == []


WAYS = ("it is stopped", "its guard is killed")
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {ENDLESS}"


@pytest.mark.parametrize("how", WAYS)
def test_shared_memory_is_given_back_by_a_command_that_had_no_time_to(tmp_path: Path, how: str) -> None:
    code = "from multiprocessing.shared_memory import SharedMemory; shared = SharedMemory(create=True, size=1000);"
    guarded = _start(
        tmp_path, sys.executable, "-c", f"{code} print(shared.name, flush=True); {DEAF}", grace_seconds=0.2
    )
    until(lambda: "\n" in (tmp_path / "log").read_text())
    shared = Path("/dev", "shm", (tmp_path / "log").read_text().split()[0])
    assert shared.exists()
    _end(guarded, how)
    assert not shared.exists()


@pytest.mark.parametrize("how", WAYS)
def test_temporary_files_go_with_their_command(tmp_path: Path, how: str) -> None:
    code = f"import tempfile; print(tempfile.mkstemp()[1], flush=True); {DEAF}"
    guarded = Guarded(
        [sys.executable, "-c", code],
        environment=clean_environment(),
        folder=tmp_path,
        log=tmp_path / "log",
        grace_seconds=0.2,
        own_temporary=True,
    )
    until(lambda: "\n" in (tmp_path / "log").read_text())
    file = Path((tmp_path / "log").read_text().split()[0])
    assert file.exists()
    _end(guarded, how)
    assert not file.parent.exists()


def test_a_process_that_names_itself_as_vllms_do_is_found_once_its_guard_is_killed(tmp_path: Path) -> None:
    named = f"import setproctitle; setproctitle.setproctitle('VLLM::EngineCore'); print('named', flush=True); {ENDLESS}"
    start = f"subprocess.Popen([sys.executable, '-c', {named!r}], start_new_session=True)"
    code = f"import subprocess, sys; {start}; {ENDLESS}"
    guarded = _start(tmp_path, sys.executable, "-c", code)
    family = _family(guarded.pid, 2)
    until(lambda: "named" in (tmp_path / "log").read_text())
    _end(guarded, "its guard is killed")
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_a_grandchild_that_is_killed_is_the_commands_business(tmp_path: Path) -> None:
    guarded = _start(tmp_path, *stand_in("--family", "1", "--never-up"))
    command, grandchild = _family(guarded.pid, 2)
    grandchild.kill()
    assert guarded.poll() is None
    guarded.stop()
    assert psutil.wait_procs([command, grandchild], timeout=300)[1] == []


def test_a_new_worker_ends_what_an_earlier_one_and_its_guard_left(tmp_path: Path) -> None:
    engine_folder = tmp_path / "state" / "engine"
    engine_folder.mkdir(parents=True)
    guarded = _start(engine_folder, *stand_in("--family", "2", "--never-up"))
    other = _start(tmp_path, *stand_in("--never-up"))
    family = _family(guarded.pid, 3)
    os.kill(guarded.pid, signal.SIGKILL)
    with bench(tmp_path, tmp_path, stand_in()):
        assert psutil.wait_procs(family, timeout=300)[1] == []
        assert other.poll() is None, "what is another worker's stays"
    other.stop()


def test_what_is_started_does_not_see_the_workers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPROFARM_WORKER_BROKER_URL", "REPROFARM_WORKER_HUB_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in clean_environment(VLLM_API_KEY="own").values()
