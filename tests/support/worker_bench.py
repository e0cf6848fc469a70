"""A worker's bench on which everything is real but the engine and the Hub: snapshots are there already."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specs.messages import AttemptRef, AttemptsAlive, ModelRef, Order, Progress, Report, RunBatch, Stage, TaskRef
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from tests.support import stand_in_engine
from tests.support.shared_runs import shared_runs
from tests.support.small_repos import COMMIT
from workers.batches.batch import BatchRun
from workers.batches.messenger import Messenger
from workers.batches.workbench import Workbench, open_workbench
from workers.engines.engine_logs import logs
from workers.settings import WorkerSettings

MODEL = ModelRef(model_id="org/model", revision=COMMIT)


def stand_in(*options: str) -> tuple[str, ...]:
    """The command of a stand-in engine."""
    return (sys.executable, str(stand_in_engine.__file__), *options)


def remember_snapshot(cache_folder: Path, kind: str, repo_id: str, snapshot: Path) -> None:
    """Have the worker find a snapshot as if it had fetched it earlier."""
    complete = cache_folder / "complete" / f"{kind}--{repo_id.replace('/', '--')}--{COMMIT}"
    complete.parent.mkdir(parents=True, exist_ok=True)
    complete.write_text(str(snapshot))


@contextmanager
def bench(folder: Path, model: Path, engine: Sequence[str] | None = None, **more: Any) -> Iterator[Workbench]:
    """A bench with the model fetched; its engine is stopped in the end. Other settings than these are named.

    `engine` is the command of a stand-in; None is the real one.
    """
    settings = WorkerSettings(
        **{
            "pool": "cpu",
            "hub_endpoint": "http://127.0.0.1:9",
            "evidence_url": f"file://{folder}/evidence",
            "cache_folder": folder / "cache",
            "state_folder": folder / "state",
            **more,
        }
    )
    remember_snapshot(settings.cache_folder, "model", MODEL.model_id, model)
    opened = open_workbench("worker@test", settings, engine, shared_runs())
    try:
        yield opened
    finally:
        opened.engines.close()
        opened.lock.close()


def engine_words(bench: Workbench) -> str:
    """All that the bench's engines wrote to their logs."""
    return "".join(log.read_text() for log in logs(bench.settings.state_folder / "engine"))


def order(task: TaskRef, reproduction_id: str = "r1", **more: Any) -> Order:
    """An order for a task; whatever of it is to be otherwise is named."""
    return Order(
        **{
            "ref": AttemptRef(reproduction_id=reproduction_id, attempt=1),
            "task": task,
            "generation": GenerationSettings(),
            "seed": 5,
            "epochs": None,
            "sample_limit": None,
            "stopping": None,
            "allow_self_judge": True,
            "judges": {},
            "stall_seconds": 300.0,
            "deadline_seconds": 3600.0,
            **more,
        }
    )


def batch_of(
    *orders: Order, engine: EngineRules | None = None, side_by_side: int = 1, model: ModelRef = MODEL
) -> RunBatch:
    """A batch for the bench's model, unless another is named."""
    rules = engine or EngineRules(start_seconds=600.0)
    return RunBatch(
        batch_id=f"batch-of-{orders[0].ref.reproduction_id}",
        model=model,
        engine=rules,
        gpus=0,
        heartbeat_seconds=0.5,
        side_by_side=side_by_side,
        orders=orders,
    )


@dataclass
class Heard:
    """What a worker said."""

    reports: dict[str, Report] = field(default_factory=dict)
    beats: list[AttemptsAlive] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    """As the batch told them to its messenger. Of two that follow at once, heartbeats may have the later alone."""

    def hear(self, message: AttemptsAlive | Report) -> None:
        """Take one message."""
        if isinstance(message, Report):
            self.reports[message.ref.reproduction_id] = message
        else:
            self.beats.append(message)


class _Overheard(Messenger):
    """A messenger that lets a test hear what it is told."""

    def __init__(self, batch: RunBatch, bench: Workbench, heard: Heard) -> None:
        super().__init__(batch, bench.name, "cpu", heard.hear)
        self._heard = heard

    def progress(self, progress: Progress) -> None:
        self._heard.stages.append(progress.stage)
        super().progress(progress)


def run(bench: Workbench, batch: RunBatch, heard: Heard | None = None) -> Heard:
    """Run a batch and listen; whoever gives what hears can look at it meanwhile."""
    heard = heard if heard is not None else Heard()
    with _Overheard(batch, bench, heard) as messenger:
        BatchRun(batch, bench, messenger).run()
    return heard
