"""`reprofarm up`: the whole farm as a newcomer starts it, with an empty Hub and no model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from specs.policy.rules import read_policy
from tests.support.localhub import RunningHub, running_hub
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, is_gone, until
from workers.engines.devices import GIB, Machine
from workers.processes.guarded import clean_environment

pytest.importorskip("psutil", reason="workers need the extra `run`")

COMMAND = [sys.executable, "-c", "from deploy.cli.main import main; main()"]
PROCESSES = {"redis", "api", "control", "beat", "worker-cpu"}


def wait_for(is_so: Callable[[], bool], farm: subprocess.Popen[bytes]) -> None:
    def alive_and_so() -> bool:
        assert farm.poll() is None, f"the farm ended with {farm.returncode}; what it said is in up.log"
        return is_so()

    until(alive_and_so, patience_seconds=PROCESS_PATIENCE_SECONDS)


@contextmanager
def farm_in(folder: Path, hub_url: str, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A farm that is up, with what its farm.json says."""
    options = ["up", "--var", str(folder), "--hub", hub_url, "--api-port", "0", *more]
    with (folder.parent / "up.log").open("ab") as log:
        # Nothing is run here, and what engines and runs are forked from imports for half a minute of a core.
        environment = clean_environment(REPROFARM_WORKER_PREPARE="false")
        farm = subprocess.Popen([*COMMAND, *options], env=environment, stdout=log, stderr=log)
    try:
        wait_for((folder / "farm.json").exists, farm)
        yield farm, json.loads((folder / "farm.json").read_text())
    finally:
        farm.kill()
        farm.wait()


def reprofarm(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PROCESS_PATIENCE_SECONDS,
        check=False,
    )


def tree_of(pids: list[int]) -> list[int]:
    """These processes and all below them."""
    import psutil  # noqa: PLC0415 - the module is skipped where it is missing

    parents = [psutil.Process(pid) for pid in pids]
    return [process.pid for parent in parents for process in (parent, *parent.children(recursive=True))]


def wait_until_gone(pids: list[int]) -> None:
    until(lambda: all(map(is_gone, pids)), lambda: "some are left", PROCESS_PATIENCE_SECONDS)


@dataclass(frozen=True)
class Killed:
    """A farm that was killed while it was up."""

    folder: Path
    hub: RunningHub
    second: subprocess.CompletedProcess[str]
    """What tried to be another in its folder before."""

    answered_still: bool
    """After that."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """One for all tests: a farm takes a worker's imports, and many seconds."""
    parent = tmp_path_factory.mktemp("killed")
    folder = parent / "var"
    with running_hub(parent / "hub") as hub:
        with farm_in(folder, hub.url) as (farm, state):
            second = reprofarm("up", "--var", str(folder), "--api-port", "0", folder=parent)
            answered_still = httpx2.get(f"{state['api']}/healthz").is_success
            pids = tree_of(list(state["processes"].values()))
            farm.kill()
            wait_until_gone(pids)
            (folder / "farm.json").unlink()
        yield Killed(folder, hub, second, answered_still)


def test_a_second_farm_in_the_same_folder_is_refused(killed: Killed) -> None:
    assert killed.second.returncode == 3
    assert "runs in" in killed.second.stderr
    assert killed.answered_still


def test_a_farm_that_was_given_no_policy_reckons_with_its_machines_memory(killed: Killed) -> None:
    (pool,) = read_policy(killed.folder / "policy.yaml").pools
    (machine,) = Machine().look()
    assert pool.memory_gib == pytest.approx(machine.total_bytes / GIB, abs=0.1)


def test_the_next_farm_after_one_that_was_killed_comes_up_scans_and_stops_without_a_trace(
    killed: Killed, tmp_path: Path
) -> None:
    folder, hub, policy = killed.folder, killed.hub, tmp_path / "policy.yaml"
    # By default the second scan comes after a minute.
    policy.write_text("watch: {scan_seconds: 1.0}")
    with farm_in(folder, hub.url, "--policy", str(policy)) as (farm, state):
        assert set(state["processes"]) == PROCESSES
        # A probe has two seconds' patience with the broker, and a busy machine less.
        ready = {"database": "ok", "broker": "ok"}
        wait_for(lambda: httpx2.get(f"{state['api']}/readyz").json()["checks"] == ready, farm)
        (key,) = httpx2.get(f"{state['api']}/.well-known/jwks.json").json()["keys"]
        assert key["kty"] == "OKP"
        # The other commands find it from the same folder.
        assert reprofarm("claims", folder=folder.parent).stdout.startswith("no claims yet")
        # Beat, broker and control worker are wired together: a scan reaches the Hub.
        wait_for(lambda: any("/api/datasets" in request for request in hub.requests), farm)
        pids = tree_of(list(state["processes"].values()))
        farm.send_signal(signal.SIGTERM)
        assert farm.wait(PROCESS_PATIENCE_SECONDS) == 0
        assert all(map(is_gone, pids))
        assert not (folder / "farm.json").exists()
