"""Celery workers on one broker, each of which a test can drain; only their engines are stand-ins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from deploy.farm.processes import Processes
from specs.messages import RUN_BATCH, AttemptsAlive, Report, RunBatch, Stage
from tests.support.control_queue import taken
from tests.support.stand_in_worker import QUEUE, stand_in_worker, worker_app
from tests.support.worker_bench import stand_in

PATIENCE_SECONDS = 600.0


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
        app = f"{worker_app(stand_in(*engine))}app.conf.broker_transport_options.update({celery!r})\n"
        # A busy machine takes many times as long as an idle one to close a log.
        settings = {"REPROFARM_WORKER_HAND_BACK_SECONDS": str(PATIENCE_SECONDS)}
        worker = stand_in_worker(self.folder, self.broker, app, settings, name=name, grace_seconds=PATIENCE_SECONDS)
        self.processes.start(worker)

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
        for message in taken(self.broker):
            if isinstance(message, Report):
                self.reports.append(message)
            elif isinstance(message, AttemptsAlive):
                self.beats.append(message)

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
