"""Celery workers on one broker, each of which a test can drain; only their engines are stand-ins."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from deploy.farm.processes import Process, Processes
from specs.messages import ATTEMPTS_ALIVE, CONTROL_QUEUE, REPORT, RUN_BATCH, AttemptsAlive, Report, RunBatch, Stage
from tests.support.shared_runs import worker_app
from tests.support.worker_bench import stand_in
from workers.processes.guarded import clean_environment

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600.0
QUEUE = "pool.cpu"


@dataclass
class Drained:
    """The control plane's end of the queues, by hand."""

    folder: Path
    broker: str
    processes: Processes
    reports: list[Report] = field(default_factory=list)
    beats: list[AttemptsAlive] = field(default_factory=list)

    def start(self, name: str, *engine: str, **celery: Any) -> None:
        """Start a worker with a state folder of its own, the cache and the evidence store of all."""
        (self.folder / f"{name}_app.py").write_text(
            f"{worker_app(stand_in(*engine))}app.conf.broker_transport_options.update({celery!r})\n"
        )
        environment = clean_environment(
            PYTHONPATH=f"{PROJECT}:{self.folder}",
            REPROFARM_WORKER_BROKER_URL=self.broker,
            REPROFARM_WORKER_EVIDENCE_URL=f"file://{self.folder}/evidence",
            REPROFARM_WORKER_CACHE_FOLDER=str(self.folder / "cache"),
            REPROFARM_WORKER_STATE_FOLDER=str(self.folder / name),
            REPROFARM_WORKER_HUB_ENDPOINT="http://127.0.0.1:9",
            # A busy machine takes many times as long as an idle one to close a log.
            REPROFARM_WORKER_HAND_BACK_SECONDS=str(PATIENCE_SECONDS),
        )
        command = [sys.executable, "-m", "celery", "-A", f"{name}_app", "worker", "--hostname", f"{name}@farm"]
        process = Process(name, [*command, "-Q", QUEUE, "-l", "INFO"], environment, PATIENCE_SECONDS)
        self.processes.start(process)

    def send(self, batch: RunBatch) -> None:
        """Put a batch in the pool's queue."""
        with Celery(broker=self.broker) as celery:
            celery.send_task(RUN_BATCH, args=[batch.encode()], queue=QUEUE, serializer="json", task_id=batch.batch_id)

    def count(self, key: str) -> int:
        """Of the messages under one of Redis' keys."""
        with redis.Redis.from_url(self.broker) as client:
            found: Any = client.llen(key) if client.type(key) == b"list" else client.hlen(key)
            return int(found)

    def take_back(self) -> None:
        """Take a message from the pool's queue that no worker has taken."""
        with redis.Redis.from_url(self.broker) as client:
            client.lpop(QUEUE)

    def listen(self) -> None:
        """Take what has come to the control queue."""
        with redis.Redis.from_url(self.broker) as client:
            while (raw := client.rpop(CONTROL_QUEUE)) is not None:
                assert isinstance(raw, bytes)
                envelope = json.loads(raw)
                body = json.loads(base64.b64decode(envelope["body"]))[0][0]
                if envelope["headers"]["task"] == REPORT:
                    self.reports.append(Report.decode(body))
                elif envelope["headers"]["task"] == ATTEMPTS_ALIVE:
                    self.beats.append(AttemptsAlive.decode(body))

    def wait(self, what: Callable[[], Any]) -> Any:
        """Listen until it is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := what()):
            logs = "\n".join(log.path.read_text()[-3000:] for log in self.processes.logs)
            assert time.monotonic() < deadline, logs
            self.listen()
            time.sleep(0.1)
        return found

    def report(self, reproduction_id: str, attempt: int) -> Report | None:
        """Of an attempt, if there is one yet."""
        found = [each for each in self.reports if each.ref.reproduction_id == reproduction_id]
        return next((each for each in found if each.ref.attempt == attempt), None)

    def done(self, reproduction_id: str) -> int:
        """Samples that are finished, as was last said while they were run."""
        said = [progress for beat in self.beats for progress in beat.progress]
        mine = [each for each in said if each.ref.reproduction_id == reproduction_id and each.stage is Stage.RUNNING]
        return mine[-1].samples_done if mine else 0
