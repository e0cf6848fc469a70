"""`reprofarm up`: the whole farm as a newcomer starts it, without a model. One is killed, and the next is stopped.

Every setting of theirs holds a secret, through failures and successes: none of them is in what they say.
"""

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

import httpx
import pytest

from deploy.bench.postgres import PostgresServer
from deploy.farm import redis
from deploy.farm.processes import Process, Processes
from specs.policy.rules import read_policy
from tests.support.databases import create
from tests.support.localhub import RunningHub, running_hub
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, is_gone, until
from workers.engines.devices import GIB, Machine
from workers.processes.guarded import clean_environment

pytest.importorskip("psutil", reason="workers need the extra `run`")

COMMAND = [sys.executable, "-c", "from deploy.cli.main import main; main()"]
PROCESSES = {"api", "control", "beat", "worker-cpu"}
"""Besides Redis, where the farm has its own."""

SECRETS = {
    "HUB_TOKEN": "hf_writeSecretToken4711",
    "WORKER_HUB_TOKEN": "hf_readSecretToken4712",
    "JUDGE_KEY": "sk-judgeSecretKey4713",
    "DATABASE": "databaseSecret4714",
    "PROXY": "proxySecret4715",
    "HUB": "hubSecret4716",
}


def settings_at(hub: RunningHub, **more: str) -> dict[str, str]:
    """The environment of a farm at this Hub, which does not know its token."""
    return clean_environment(
        REPROFARM_HUB_TOKEN=SECRETS["HUB_TOKEN"],
        REPROFARM_HUB_ENDPOINT=f"http://farm:{SECRETS['HUB']}@{hub.url.removeprefix('http://')}",
        REPROFARM_WORKER_HUB_TOKEN=SECRETS["WORKER_HUB_TOKEN"],
        REPROFARM_JUDGE_KEY=SECRETS["JUDGE_KEY"],
        HTTPS_PROXY=f"http://me:{SECRETS['PROXY']}@127.0.0.1:9",
        # Nothing is run here, and what engines and runs are forked from imports for half a minute of a core.
        REPROFARM_WORKER_PREPARE="false",
        **more,
    )


def wait_for(is_so: Callable[[], bool], farm: subprocess.Popen[bytes]) -> None:
    def alive_and_so() -> bool:
        assert farm.poll() is None, f"the farm ended with {farm.returncode}; what it said is in up.log"
        return is_so()

    until(alive_and_so, patience_seconds=PROCESS_PATIENCE_SECONDS)


@contextmanager
def farm_in(
    folder: Path, settings: dict[str, str], *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A farm that is up, with what its farm.json says."""
    command = [*COMMAND, "up", "--var", str(folder), "--api-port", "0", *options]
    with (folder.parent / "up.log").open("ab") as log:
        farm = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
    try:
        wait_for((folder / "farm.json").exists, farm)
        yield farm, json.loads((folder / "farm.json").read_text())
    finally:
        farm.kill()
        farm.wait()


def reprofarm(*arguments: str, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=settings,
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


def the_broker_dies_and_comes_back(brokers: Processes, farm: subprocess.Popen[bytes], logs: Path) -> None:
    """Each process that speaks to it says so."""

    def says(process: str) -> str:
        return (logs / f"{process}.log").read_text()

    wait_for(lambda: "ready" in says("worker-cpu"), farm)
    brokers.stop(redis.NAME)
    wait_for(lambda: "rror" in says("control") + says("beat") and "rror" in says("worker-cpu"), farm)
    configuration = str(logs.parent.parent / "redis" / "redis.conf")
    brokers.start(Process(redis.NAME, [str(redis.find_server()), configuration], clean_environment()))


@dataclass(frozen=True)
class Killed:
    """A farm that was killed while it was up, whose database and broker were elsewhere."""

    folder: Path
    hub: RunningHub
    second: subprocess.CompletedProcess[str]
    """What tried to be another in its folder before."""

    answered_still: bool
    """After that."""

    doctor: subprocess.CompletedProcess[str]
    """With its settings."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Killed]:
    """One for all tests: a farm takes a worker's imports, and many seconds."""
    parent = tmp_path_factory.mktemp("killed")
    folder, brokers = parent / "var", Processes(parent / "redis", parent / "redis-logs")
    create(postgres, "farm_with_secrets")
    try:
        with running_hub(parent / "hub") as hub:
            settings = settings_at(
                hub,
                REPROFARM_DATABASE_URL=f"postgresql+psycopg://farm:{SECRETS['DATABASE']}@/farm_with_secrets"
                f"?host={postgres.folder}",
                REPROFARM_BROKER_URL=redis.start_redis(brokers, parent / "redis"),
            )
            with farm_in(folder, settings) as (farm, state):
                assert set(state["processes"]) == PROCESSES
                options = ["--var", str(folder), "--api-port", "0"]
                second = reprofarm("up", *options, folder=parent, settings=clean_environment())
                answered_still = httpx.get(f"{state['api']}/healthz").is_success
                the_broker_dies_and_comes_back(brokers, farm, folder / "logs")
                doctor = reprofarm("doctor", "--for", "control", folder=parent, settings=settings)
                pids = tree_of(list(state["processes"].values()))
                farm.kill()
                wait_until_gone(pids)
                (folder / "farm.json").unlink()
            yield Killed(folder, hub, second, answered_still, doctor)
    finally:
        brokers.stop()


@dataclass(frozen=True)
class Stopped:
    """The next farm in that folder, with a database and a broker of its own there, after it was stopped."""

    processes: set[str]
    keys: list[dict[str, str]]
    claims: str
    """As `reprofarm claims` lists them, where it is up."""

    status: int
    left: list[int]
    """Processes that were there still."""


@pytest.fixture(scope="module")
def stopped(killed: Killed) -> Stopped:
    folder, policy = killed.folder, killed.folder.parent / "policy.yaml"
    # By default the first scan comes after a minute.
    policy.write_text("watch: {scan_seconds: 1.0}")
    with farm_in(folder, settings_at(killed.hub), "--policy", str(policy)) as (farm, state):

        def asked(path: str) -> Any:
            return httpx.get(f"{state['api']}{path}").json()

        # A probe has two seconds' patience with the broker, and a busy machine less.
        wait_for(lambda: asked("/readyz")["checks"] == {"database": "ok", "broker": "ok"}, farm)
        # Beat, broker and control worker are wired together: a scan reaches the Hub, which refuses the token.
        wait_for(lambda: any("/api/datasets" in request for request in killed.hub.requests), farm)
        wait_for(lambda: "scan put off" in (folder / "logs" / "control.log").read_text(), farm)
        # The other commands find it from the same folder.
        claims = reprofarm("claims", folder=folder.parent, settings=clean_environment()).stdout
        keys = asked("/.well-known/jwks.json")["keys"]
        pids = tree_of(list(state["processes"].values()))
        farm.send_signal(signal.SIGTERM)
        status = farm.wait(PROCESS_PATIENCE_SECONDS)
        left = [pid for pid in pids if not is_gone(pid)]
    return Stopped(set(state["processes"]), keys, claims, status, left)


def test_a_second_farm_in_the_same_folder_is_refused(killed: Killed) -> None:
    assert killed.second.returncode == 3
    assert "runs in" in killed.second.stderr
    assert killed.answered_still


def test_a_farm_that_was_given_no_policy_reckons_with_its_machines_memory(killed: Killed) -> None:
    (pool,) = read_policy(killed.folder / "policy.yaml").pools
    (machine,) = Machine().look()
    assert pool.memory_gib == pytest.approx(machine.total_bytes / GIB, abs=0.1)


def test_the_next_farm_after_one_that_was_killed_comes_up_scans_and_stops_without_a_trace(
    killed: Killed, stopped: Stopped
) -> None:
    assert stopped.processes == {*PROCESSES, redis.NAME}
    (key,) = stopped.keys
    assert key["kty"] == "OKP"
    assert stopped.claims.startswith("no claims yet")
    assert (stopped.status, stopped.left) == (0, [])
    assert not (killed.folder / "farm.json").exists()


def test_no_secret_is_in_anything_that_a_farm_says(killed: Killed, stopped: Stopped) -> None:
    # Of either, which only its owner reads.
    configurations = [folder / "redis" / "redis.conf" for folder in (killed.folder, killed.folder.parent)]
    passwords = [path.read_text().split("requirepass ")[1].split()[0] for path in configurations]
    said = {path: path.read_bytes() for path in killed.folder.rglob("*") if path.is_file()}
    del said[configurations[0]]
    assert {f"{name}.log" for name in PROCESSES} <= {path.name for path in said}
    up_log = killed.folder.parent / "up.log"
    said |= {up_log: up_log.read_bytes(), Path("doctor"): (killed.doctor.stdout + killed.doctor.stderr).encode()}
    assert len(killed.doctor.stdout.splitlines()) > 5
    secrets = [*SECRETS.items(), *(("BROKER", each) for each in passwords)]
    found = [(what, path.name) for what, secret in secrets for path in said if secret.encode() in said[path]]
    assert found == []
