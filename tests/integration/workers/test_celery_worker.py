"""A real worker process on a real Redis: batches in, heartbeats and reports out, attempts dropped on the way."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from celery import Celery

from deploy.farm.processes import Process, Processes
from deploy.farm.redis import start_redis
from specs.messages import (
    ATTEMPTS_ALIVE,
    CONTROL_QUEUE,
    REPORT,
    RUN_BATCH,
    AttemptOutcome,
    AttemptsAlive,
    Order,
    Progress,
    Report,
    RunBatch,
    Stage,
)
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.worker_bench import MODEL, batch_of, order, remember_snapshot, stand_in
from workers.guarded import clean_environment

PROJECT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 180.0


@dataclass
class Farm:
    """The control plane's end of the queues, by hand."""

    folder: Path
    broker: str
    celery: Celery
    processes: Processes
    heard: list[AttemptsAlive | Report]

    def send(self, batch: RunBatch) -> None:
        self.celery.send_task(RUN_BATCH, args=[batch.encode()], queue="pool.cpu", task_id=batch.batch_id)

    def listen(self) -> None:
        """Take what has come to the control queue."""
        with redis.Redis.from_url(self.broker) as client:
            while (raw := client.rpop(CONTROL_QUEUE)) is not None:
                assert isinstance(raw, bytes)
                envelope = json.loads(raw)
                assert envelope["content-type"] == "application/json"
                body = json.loads(base64.b64decode(envelope["body"]))[0][0]
                if envelope["headers"]["task"] == REPORT:
                    self.heard.append(Report.decode(body))
                else:
                    assert envelope["headers"]["task"] == ATTEMPTS_ALIVE
                    self.heard.append(AttemptsAlive.decode(body))

    def wait(self, what: Callable[[], Any]) -> Any:
        """Listen until there is something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := what()):
            assert time.monotonic() < deadline, (self.folder / "logs" / "worker.log").read_text()[-3000:]
            self.processes.check()
            self.listen()
            time.sleep(0.1)
        return found

    def reports(self) -> dict[str, Report]:
        return {each.ref.reproduction_id: each for each in self.heard if isinstance(each, Report)}

    def mentioned(self, reproduction_id: str) -> list[Progress]:
        """What was said of a reproduction in heartbeats."""
        beats = [beat for beat in self.heard if isinstance(beat, AttemptsAlive)]
        said = [progress for beat in beats for progress in beat.progress]
        return [progress for progress in said if progress.ref.reproduction_id == reproduction_id]

    def running(self, reproduction_id: str) -> bool:
        return any(each.stage is Stage.RUNNING and each.samples_total for each in self.mentioned(reproduction_id))

    def evidence(self) -> set[Path]:
        return set((self.folder / "evidence").rglob("*.eval"))

    def engines(self) -> list[psutil.Process]:
        """The engines (and their guards) of this farm."""
        return [
            each
            for each in psutil.process_iter(["cmdline"])
            if str(self.folder) in " ".join(each.info["cmdline"] or [])
            and "--served-model-name" in each.info["cmdline"]
        ]


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One worker for all; each test has reproductions of its own."""
    tmp_path = tmp_path_factory.mktemp("farm")
    processes = Processes(tmp_path, tmp_path / "logs")
    broker = start_redis(processes, tmp_path / "redis")
    remember_snapshot(tmp_path / "cache", "model", MODEL.model_id, write_model(tmp_path / "model"))
    # The app as it is; only the engine's command is another.
    (tmp_path / "worker_with_stand_in.py").write_text(
        "import workers.workbench\n"
        f"workers.workbench.open_workbench.__defaults__ = ({stand_in()!r},)\n"
        "from workers.app import app\n"
    )
    environment = clean_environment(
        PYTHONPATH=f"{PROJECT}:{tmp_path}",
        REPROFARM_WORKER_BROKER_URL=broker,
        REPROFARM_WORKER_EVIDENCE_URL=f"file://{tmp_path}/evidence",
        REPROFARM_WORKER_CACHE_FOLDER=str(tmp_path / "cache"),
        REPROFARM_WORKER_STATE_FOLDER=str(tmp_path / "state"),
        REPROFARM_WORKER_HUB_ENDPOINT="http://127.0.0.1:9",
    )
    command = [sys.executable, "-m", "celery", "-A", "worker_with_stand_in", "worker"]
    processes.start(Process("worker", [*command, "-Q", "pool.cpu", "-c", "1", "-l", "INFO"], environment))
    celery = Celery(broker=broker)
    celery.conf.update(task_serializer="json")
    try:
        yield Farm(tmp_path, broker, celery, processes, [])
    finally:
        celery.close()
        processes.stop()


def _order(farm: Farm, name: str, question: str) -> Order:
    snapshot = write_dataset(farm.folder / name, [{"question": question, "answer": "yes"}] * 3)
    remember_snapshot(farm.folder / "cache", "dataset", f"bench/{name}", snapshot)
    return order(task_ref(snapshot, dataset_id=f"bench/{name}"), name)


def test_a_dropped_attempt_stops_and_the_rest_of_its_batch_goes_on(farm: Farm) -> None:
    farm.send(batch_of(_order(farm, "hanging-1", "[hang]"), _order(farm, "good-1", "Say: yes")))
    farm.wait(lambda: farm.running("hanging-1"))
    farm.celery.control.broadcast("drop_attempt", arguments={"reproduction_id": "hanging-1", "attempt": 1})
    good = farm.wait(lambda: farm.reports().get("good-1"))
    assert good.outcome is AttemptOutcome.COMPLETED, good.detail
    assert good.measurement.score == 1.0
    assert "hanging-1" not in farm.reports()
    assert (farm.folder / "logs" / "worker.log").read_text().count("dropped hanging-1, attempt 1") == 1


def test_a_revoked_batch_ends_and_leaves_no_engine_and_the_worker_goes_on(farm: Farm) -> None:
    farm.send(batch_of(_order(farm, "hanging-2", "[hang]")))
    farm.wait(lambda: farm.running("hanging-2"))
    engines = farm.engines()
    assert engines
    farm.celery.control.revoke("batch-of-hanging-2", terminate=True, signal="SIGTERM")
    assert psutil.wait_procs(engines, timeout=60)[1] == []
    farm.send(batch_of(_order(farm, "good-2", "Say: yes")))
    assert farm.wait(lambda: farm.reports().get("good-2")).outcome is AttemptOutcome.COMPLETED
    assert "hanging-2" not in farm.reports()


def test_a_broker_that_comes_back_gets_the_report(farm: Farm) -> None:
    stored = farm.evidence()
    farm.send(batch_of(_order(farm, "good-4", "Say: yes")))
    farm.wait(lambda: farm.mentioned("good-4"))
    redis_guard = psutil.Process(farm.processes.pids["redis"])
    (server,) = redis_guard.children()
    server.suspend()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while farm.evidence() == stored:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.resume()
    assert farm.wait(lambda: farm.reports().get("good-4")).outcome is AttemptOutcome.COMPLETED


def test_a_message_of_another_version_is_refused_and_the_worker_goes_on(farm: Farm) -> None:
    batch = batch_of(_order(farm, "good-5", "Say: yes"))
    farm.celery.send_task(RUN_BATCH, args=[{**batch.encode(), "version": 99}], queue="pool.cpu")
    farm.send(batch)
    assert farm.wait(lambda: farm.reports().get("good-5")).outcome is AttemptOutcome.COMPLETED
    assert "of version 99; this farm speaks 1" in (farm.folder / "logs" / "worker.log").read_text()


def test_a_worker_that_is_killed_leaves_no_engine(farm: Farm) -> None:
    farm.send(batch_of(_order(farm, "hanging-3", "[hang]")))
    farm.wait(lambda: farm.running("hanging-3"))
    engines = farm.engines()
    guard = psutil.Process(farm.processes.pids["worker"])
    (main,) = guard.children()
    (child,) = [each for each in main.children() if each.children()]
    os.kill(child.pid, signal.SIGKILL)
    assert psutil.wait_procs(engines, timeout=60)[1] == []
