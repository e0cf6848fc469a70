"""Engines are forked from a server; with real processes, of which only vLLM is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from specs.errors import EngineError
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from tests.support.engines import engines
from tests.support.fake_nvml import pynvml
from tests.support.shared_runs import shared_runs
from tests.support.small_repos import COMMIT, write_model
from tests.support.stand_in_server import DRIVER
from tests.support.stand_in_worker import PROJECT
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, until
from tests.support.worker_bench import stand_in
from workers.batches.workbench import open_workbench
from workers.engines import devices
from workers.engines.engine import Engine
from workers.engines.engine_process import EngineServer
from workers.presence.presence import _is_there
from workers.processes.fork_server import SOCKET
from workers.processes.guarded import clean_environment
from workers.processes.orphans import _prefix
from workers.settings import WorkerSettings

RULES = EngineRules(start_seconds=600.0, kv_cache_gib=1)


class _Server(EngineServer):
    """Of engines that are a module of the tests."""

    def __init__(self, module: str, folder: Path, driver: str) -> None:
        # Where a worker's is, in its state folder.
        super().__init__(folder / "engine-server", folder / "engine")
        self._module = module
        self._environment = clean_environment(PYTHONPATH=str(PROJECT), **{DRIVER: driver})


@dataclass
class Rig:
    """An engine manager whose engines are forked."""

    folder: Path
    module: str = "tests.support.stand_in_server"
    on_wait: Callable[[], None] = lambda: None
    driver: str = "/"

    def __post_init__(self) -> None:
        self.manager = engines(self.folder / "engine", _Server(self.module, self.folder, self.driver))

    def up(self, name: str = "one", rules: EngineRules = RULES) -> Engine:
        snapshot = self.folder / name
        if not snapshot.exists():
            write_model(snapshot)
        model = ModelRef(model_id=f"org/{name}", revision=COMMIT)
        folder = next(snapshot.rglob("*.safetensors")).parent
        return self.manager.engine_for(model, folder, rules, 0, self.on_wait)

    def server_process(self) -> psutil.Process:
        """The server itself, neither its guard nor what was forked from it."""
        named = [sys.executable, "-m", self.module, str(self.folder / "engine-server")]
        (found,) = [
            each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == named and _is_first(each)
        ]
        return found


def _is_first(process: psutil.Process) -> bool:
    parent = process.parent()
    return parent is not None and parent.cmdline() != process.cmdline()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path)
    yield found
    found.manager.close()


def family(engine: Engine) -> list[psutil.Process]:
    """The guard, the engine, and what that started, in sessions of their own as vLLM's processes are."""
    guard = psutil.Process(engine.note().guard_pid)
    return until(lambda: found if len(found := [guard, *guard.children(recursive=True)]) >= 4 else [])


def temporary(engine: Engine) -> Path:
    """Where it has its sockets: its children were told so too."""
    return Path(family(engine)[-1].environ()["TMPDIR"])


def test_an_engine_is_up_and_leaves_nothing_when_it_is_ended(rig: Rig) -> None:
    engine = rig.up()
    processes, sockets = family(engine), temporary(engine)
    assert engine.is_well()
    assert _is_there(engine.note())
    assert (sockets / "socket").exists()
    rig.manager.discard()
    assert psutil.wait_procs(processes, timeout=300)[1] == []
    assert not sockets.exists()
    assert not engine.alive()
    engine.stop()


def test_the_next_engine_comes_from_the_same_server_and_has_a_process_of_its_own(rig: Rig) -> None:
    first = rig.up().note()
    server = rig.server_process()
    second = rig.up("two").note()
    assert rig.server_process() == server
    assert first.guard_pid != second.guard_pid
    assert not _is_there(first)
    assert _is_there(second)


def test_a_guard_that_is_killed_leaves_nothing_once_its_worker_looks(rig: Rig) -> None:
    engine = rig.up()
    processes, sockets = family(engine), temporary(engine)
    os.kill(engine.note().guard_pid, signal.SIGKILL)
    until(lambda: not engine.alive())
    assert psutil.wait_procs(processes, timeout=300)[1] == []
    assert not sockets.exists()
    assert not _is_there(engine.note())


def test_a_server_that_is_killed_takes_its_engine_along_and_another_server_has_the_next(rig: Rig) -> None:
    engine = rig.up()
    processes = family(engine)
    rig.server_process().kill()
    until(lambda: not engine.alive())
    assert psutil.wait_procs(processes, timeout=300)[1] == []
    assert rig.up().is_well()


class Enough(Exception):  # noqa: N818 - an order, as those of a worker are
    pass


def test_a_start_that_waits_for_a_busy_server_can_be_ended(rig: Rig) -> None:
    rig.up()
    rig.manager.discard()
    server = rig.server_process()
    # As one that still imports, it takes no errand.
    server.suspend()

    def enough() -> None:
        server.resume()
        raise Enough

    rig.on_wait = enough
    with pytest.raises(Enough):
        rig.up("two")
    rig.on_wait = lambda: None
    assert rig.up("two").is_well()


def test_a_server_that_hangs_is_waited_for_as_long_as_an_engine_and_replaced(rig: Rig) -> None:
    rig.up()
    rig.manager.discard()
    server = rig.server_process()
    # For ever, as one does whose driver does not answer.
    server.suspend()
    with pytest.raises(EngineError, match="forked from took none for 2 s, and was ended"):
        rig.up("two", RULES.model_copy(update={"start_seconds": 2.0}))
    assert not server.is_running()
    assert rig.up("two").is_well()


def test_a_driver_that_comes_after_the_server_counts_from_the_second_engine_on(tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    rig = Rig(tmp_path, driver=str(driver))
    rig.manager.begin()
    until((tmp_path / "engine-server" / SOCKET).exists, patience_seconds=PROCESS_PATIENCE_SECONDS)
    driver.touch()
    try:
        with pytest.raises(EngineError, match="Failed to infer device type"):
            rig.up()
        assert rig.up().is_well()
    finally:
        rig.manager.close()


def test_nothing_is_forked_from_what_was_begun_while_the_device_was_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_library", lambda: pynvml)
    monkeypatch.setenv("CUDA_FAKE_NVML", str(tmp_path / "nvml.json"))
    settings = WorkerSettings(state_folder=tmp_path / "state", cache_folder=tmp_path / "cache", gpus=1)
    bench = open_workbench("worker@test", settings, runs=shared_runs())
    try:
        bench.begin()
        assert not (tmp_path / "state" / "engine-server").exists()
    finally:
        bench.engines.close()
        bench.lock.close()


WORKER = (
    "import sys, time; from pathlib import Path; from tests.integration.workers.test_forked_engines import Rig;"
    "rig = Rig(Path(sys.argv[1])); rig.up(); time.sleep(3600)"
)


def test_what_a_worker_that_is_killed_leaves_among_temporary_files_its_successor_removes(tmp_path: Path) -> None:
    def left() -> list[Path]:
        return [*Path(tempfile.gettempdir()).glob(f"{_prefix(tmp_path / 'engine-server')}*/socket")]

    environment = clean_environment(PYTHONPATH=str(PROJECT))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], env=environment)
    try:
        until(left, patience_seconds=PROCESS_PATIENCE_SECONDS)
        family = psutil.Process(worker.pid).children(recursive=True)
    finally:
        worker.kill()
        worker.wait()
    assert psutil.wait_procs(family, timeout=300)[1] == []
    others = tempfile.mkdtemp(prefix=_prefix(tmp_path / "another's"))
    settings = WorkerSettings(state_folder=tmp_path, cache_folder=tmp_path / "cache")
    open_workbench("worker@test", settings, stand_in(), shared_runs()).lock.close()
    assert left() == []
    Path(others).rmdir()


def test_a_server_that_cannot_import_is_said_to_be_the_reason(tmp_path: Path) -> None:
    rig = Rig(tmp_path, module="tests.support.no_such_server")
    with pytest.raises(EngineError, match="no_such_server does not come up") as raised:
        rig.up()
    assert "No module named tests.support.no_such_server" in raised.value.log_tail
