"""A reproduction is cancelled on a farm of real processes; of the worker, only the engine is a stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select

from deploy.farm.processes import Process, Processes
from deploy.farm.redis import start_redis
from deploy.localhub.commits import CommitText
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Reproduction
from scheduler.machine import ClaimState, ReproductionState
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import running_hub
from tests.support.shared_runs import worker_app
from tests.support.worker_bench import stand_in
from workers.guarded import clean_environment

pytest.importorskip("psutil", reason="workers need the extra `run`")

PROJECT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 240.0
SPEC = """\
evaluation_framework: inspect-ai
tasks:
  - id: echo
    split: test
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: exact}]
"""
RARELY_HEARD = {"heartbeat_seconds": 600.0, "lease_seconds": 1800.0}
"""A worker that is told to stop only when it says something next would be told too late for the tests' patience."""


@dataclass
class Farm:
    """A farm, seen through its database."""

    folder: Path
    database: Database
    environment: dict[str, str]
    processes: Processes

    def claim(self, dataset_id: str) -> Claim:
        with self.database.reading() as session:
            return session.scalars(select(Claim).where(Claim.dataset_id == dataset_id)).one()

    def stage(self, dataset_id: str) -> str | None:
        """Of the running attempt at what the claim is judged by; None before there is one."""
        with self.database.reading() as session:
            running = (
                select(Attempt.stage)
                .join(Reproduction, Reproduction.reproduction_id == Attempt.reproduction_id)
                .join(Claim, Claim.reproduction_id == Reproduction.reproduction_id)
                .where(Claim.dataset_id == dataset_id, Reproduction.state == ReproductionState.RUNNING)
                .where(Attempt.number == Reproduction.attempt)
            )
            return session.scalar(running)

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            self.processes.check()
            assert time.monotonic() < deadline, (self.folder / "logs" / "worker.log").read_text()[-3000:]
            time.sleep(0.2)

    def reprofarm(self, *arguments: str) -> None:
        command = [sys.executable, "-c", "from deploy.cli.main import main; main()", *arguments]
        subprocess.run(command, env=self.environment, check=True, cwd=self.folder, timeout=PATIENCE_SECONDS)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A farm with one batch of two: one whose engine never answers, and behind it one that is quick."""
    processes = Processes(tmp_path, tmp_path / "logs")
    try:
        with running_hub(tmp_path / "hub") as served:
            hub = served.local
            for name, question in (("acme/hangs", "[hang]"), ("acme/quick", "Say: yes")):
                rows = "".join(json.dumps({"question": f"{n} {question}", "answer": "yes"}) + "\n" for n in range(5))
                hub.commit(
                    add_benchmark(hub, name, SPEC), {"test.jsonl": rows.encode()}, CommitText("Add rows", "acme")
                )
            entries = entry("acme/hangs", 50, task="echo") + entry("acme/quick", 100, task="echo")
            submit(hub, add_model(hub, "tiny/model"), entries)
            database = Database(f"sqlite:///{tmp_path / 'reprofarm.db'}")
            database.upgrade()
            yield Farm(tmp_path, database, _started(tmp_path, served.url, processes), processes)
            database.engine.dispose()
    finally:
        processes.stop()


def _started(folder: Path, hub_url: str, processes: Processes) -> dict[str, str]:
    """Start its processes; the control plane's environment."""
    broker = start_redis(processes, folder / "redis")
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump({"run": RARELY_HEARD}))
    (folder / "worker_with_stand_in.py").write_text(worker_app(stand_in()))
    control = clean_environment(
        PYTHONPATH=str(PROJECT),
        REPROFARM_DATABASE_URL=f"sqlite:///{folder / 'reprofarm.db'}",
        REPROFARM_BROKER_URL=broker,
        REPROFARM_HUB_ENDPOINT=hub_url,
        REPROFARM_EVIDENCE_URL=f"file://{folder}/evidence",
        REPROFARM_SIGNING_KEY=str(folder / "keys" / "signing.pem"),
        REPROFARM_RETIRED_KEYS=str(folder / "keys" / "retired"),
        REPROFARM_POLICY=str(policy),
    )
    worker = clean_environment(
        PYTHONPATH=f"{PROJECT}:{folder}",
        REPROFARM_WORKER_BROKER_URL=broker,
        REPROFARM_WORKER_HUB_ENDPOINT=hub_url,
        REPROFARM_WORKER_EVIDENCE_URL=f"file://{folder}/evidence",
        REPROFARM_WORKER_CACHE_FOLDER=str(folder / "cache"),
        REPROFARM_WORKER_STATE_FOLDER=str(folder / "state"),
        REPROFARM_WORKER_POOL="cpu",
    )
    Signer.create(folder / "keys" / "signing.pem")
    celery = [sys.executable, "-m", "celery", "-A"]
    told = ["--pool", "threads", "--concurrency", "4"]
    processes.start(Process("control", [*celery, "scheduler.app", "worker", "-Q", "control", *told], control))
    schedule = ["--schedule", str(folder / "beat-schedule"), "--pidfile", ""]
    processes.start(Process("beat", [*celery, "scheduler.schedule", "beat", *schedule], control))
    take = ["worker", "-Q", "pool.cpu", "-l", "INFO", "--hostname", "cpu@%h"]
    processes.start(Process("worker", [*celery, "worker_with_stand_in", *take], worker))
    return control


def test_a_cancelled_run_frees_the_engine_for_the_next_of_its_batch_and_can_be_tried_again(farm: Farm) -> None:
    farm.wait(lambda: farm.stage("acme/hangs") == "running")
    first = farm.claim("acme/hangs").reproduction_id
    assert first is not None
    farm.reprofarm("cancel", first, "--why", "it hangs")
    # The engine never answers the first, and no heartbeat is due: the second runs because the worker was told.
    farm.wait(lambda: farm.claim("acme/quick").state == ClaimState.DECIDED)
    assert farm.claim("acme/quick").reason.startswith("verified")
    held = farm.claim("acme/hangs")
    assert (held.state, "it hangs" in held.reason) == (ClaimState.BLOCKED, True)
    log = farm.folder / "logs" / "worker.log"
    assert f"dropped {first}, attempt 1" in log.read_text()
    assert log.read_text().count("engine for tiny/model up") == 1, "the same engine served both"

    farm.reprofarm("retry", held.claim_id)
    # Not until a certain stage: with a warm engine they follow so closely that the last to be heard may be another.
    farm.wait(lambda: farm.stage("acme/hangs") is not None)
    again = farm.claim("acme/hangs").reproduction_id
    assert again not in (None, first)
    farm.reprofarm("cancel", held.claim_id, "--why", "it still hangs")
    farm.wait(lambda: f"dropped {again}, attempt 1" in log.read_text())
