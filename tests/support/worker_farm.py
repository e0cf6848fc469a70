"""Real worker processes on a real Redis; only their engines are stand-ins, and a test plays the control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
from celery import Celery

from deploy.farm.processes import GRACE_SECONDS, Processes
from deploy.farm.redis import start_redis
from specs.messages import DROP_ATTEMPT, RUN_BATCH, AttemptsAlive, Order, Progress, Report, RunBatch, Stage, WorkerAlive
from specs.queues import own_queue
from tests.support.control_queue import taken
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.stand_in_worker import PROJECT, QUEUE, stand_in_worker, worker_app
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, log_ends, until
from tests.support.worker_bench import MODEL, order, remember_snapshot, stand_in


@dataclass
class Farm:
    """The control plane's end of the queues, by hand."""

    folder: Path
    broker: str
    celery: Celery
    processes: Processes
    beats: list[AttemptsAlive] = field(default_factory=list)
    reported: list[Report] = field(default_factory=list)
    presence: list[WorkerAlive] = field(default_factory=list)

    def start(
        self,
        name: str,
        *engine: str,
        settings: Mapping[str, str] | None = None,
        transport: Mapping[str, object] | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Start a worker with a state folder of its own, the cache and the evidence store of all.

        `engine` is what its stand-in is told, `transport` are options of Celery's.
        """
        app = f"{worker_app(stand_in(*engine))}app.conf.broker_transport_options.update({dict(transport or {})!r})\n"
        worker = stand_in_worker(self.folder, self.broker, app, settings or {}, name=name, grace_seconds=grace_seconds)
        self.processes.start(worker)

    def drop(self, reproduction_id: str) -> None:
        """Tell the worker to drop the first attempt of a batch."""
        dropped = {"reproduction_id": reproduction_id, "attempt": 1, "batch_id": f"batch-of-{reproduction_id}"}
        self.celery.control.broadcast(DROP_ATTEMPT, arguments=dropped)

    def send(self, batch: RunBatch, queue: str = QUEUE) -> None:
        """Put a batch in a queue, the pool's unless told otherwise."""
        self.celery.send_task(RUN_BATCH, args=[batch.encode()], queue=queue, task_id=batch.batch_id)

    def waiting(self, queue: str = QUEUE) -> int:
        """Batches in a queue."""
        with redis.Redis.from_url(self.broker) as client:
            return int(client.llen(queue))

    def takes_nothing(self) -> bool:
        """Whether the worker says that it takes from no queue."""
        said = self.celery.control.inspect(timeout=10, limit=1).active_queues()
        return said is not None and not any(said.values())

    def own_queue(self) -> str:
        """The worker's."""
        said = self.wait(lambda: self.presence and self.presence[-1])
        return own_queue(said.pool, said.worker)

    def listen(self) -> None:
        """Take what has come to the control queue."""
        for message in taken(self.broker):
            if isinstance(message, WorkerAlive):
                self.presence.append(message)
            elif isinstance(message, AttemptsAlive):
                self.beats.append(message)
            else:
                self.reported.append(message)

    def wait(self, what: Callable[[], Any]) -> Any:
        """Listen until there is something."""

        def listened() -> Any:
            self.processes.check()
            self.listen()
            return what()

        return until(listened, lambda: log_ends(self.processes), PROCESS_PATIENCE_SECONDS)

    def said(self, state: str) -> WorkerAlive | None:
        """The worker's last word of itself, if it is of that state."""
        return self.presence[-1] if self.presence and self.presence[-1].state == state else None

    def reports(self) -> dict[str, Report]:
        """By reproduction."""
        return {each.ref.reproduction_id: each for each in self.reported}

    def mentioned(self, reproduction_id: str) -> list[Progress]:
        """What was said of a reproduction in heartbeats."""
        said = [progress for beat in self.beats for progress in beat.progress]
        return [progress for progress in said if progress.ref.reproduction_id == reproduction_id]

    def running(self, reproduction_id: str) -> bool:
        """Whether its samples are being answered."""
        return any(each.stage is Stage.RUNNING and each.samples_total for each in self.mentioned(reproduction_id))

    def evidence(self) -> set[Path]:
        """Logs in the store."""
        return set((self.folder / "evidence").rglob("*.eval"))

    def engines(self) -> list[psutil.Process]:
        """The engines (and their guards) of this farm."""
        return [
            each
            for each in psutil.process_iter(["cmdline"])
            if str(self.folder) in " ".join(each.info["cmdline"] or [])
            and "--served-model-name" in each.info["cmdline"]
        ]

    def order(self, name: str, question: str) -> Order:
        """Three samples of one question; the worker has the dataset already."""
        snapshot = write_dataset(self.folder / name, [{"question": question, "answer": "yes"}] * 3)
        remember_snapshot(self.folder / "cache", "dataset", f"bench/{name}", snapshot)
        return order(task_ref(snapshot, dataset_id=f"bench/{name}"), name)


@contextmanager
def worker_farm(folder: Path, *engine: str, path: str = "", **settings: str) -> Iterator[Farm]:
    """One worker until the block ends; `engine` is what the stand-in is told, `path` goes before the others."""
    if path:
        settings["PYTHONPATH"] = f"{path}:{PROJECT}:{folder}"
    with queues(folder) as farm:
        farm.start("worker", *engine, settings=settings)
        yield farm


@contextmanager
def queues(folder: Path) -> Iterator[Farm]:
    """Still without workers; whose cache has the model."""
    processes = Processes(folder, folder / "logs")
    try:
        broker = start_redis(processes, folder / "redis")
        remember_snapshot(folder / "cache", "model", MODEL.model_id, write_model(folder / "model"))
        with Celery(broker=broker) as celery:
            celery.conf.update(task_serializer="json")
            yield Farm(folder, broker, celery, processes)
    finally:
        processes.stop()
