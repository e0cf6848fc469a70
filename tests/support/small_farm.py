"""Control worker, beat and workers as real processes on Redis and SQLite; only the workers' engines are stand-ins."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select

from deploy.farm.control_plane import beat, control_worker
from deploy.farm.environments import Plan
from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from deploy.localhub.commits import CommitText
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Reproduction
from scheduler.state_machine import ReproductionState
from tests.support.echo import ECHO_SPEC
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import running_hub
from tests.support.stand_in_worker import stand_in_worker, worker_app
from tests.support.worker_bench import stand_in
from workers.processes.ports import free_port

PATIENCE_SECONDS = 600.0
SOON = {"scan_seconds": 1.0}
"""The first scan comes so long after the start; by default a minute."""


@dataclass
class SmallFarm:
    """A farm, seen through its database."""

    folder: Path
    database: Database
    control: dict[str, str]
    """Environment of the control plane's processes."""

    hub_url: str
    broker: str
    processes: Processes

    def claim(self, dataset_id: str) -> Claim:
        """The claim on a benchmark."""
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

    def wait(self, is_so: Callable[[], object]) -> None:
        """Wait for something, as long as all processes live."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            self.processes.check()
            logs = "\n".join(log.read_text()[-2000:] for log in (self.folder / "logs").glob("*.log"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.2)

    def start_worker(self, name: str, *engine: str) -> None:
        """Start a worker of pool cpu with a state folder of its own; `engine` is what its stand-in is told."""
        settings = {"REPROFARM_WORKER_HUB_ENDPOINT": self.hub_url, "REPROFARM_WORKER_ALIVE_SECONDS": "1"}
        app = worker_app(stand_in(*engine))
        worker = stand_in_worker(self.folder, self.broker, app, settings, name=name, grace_seconds=PATIENCE_SECONDS)
        self.processes.start(worker)


@contextmanager
def small_farm(folder: Path, run: Mapping[str, Any], questions: Mapping[str, str]) -> Iterator[SmallFarm]:
    """A farm without workers until the block ends, with a model that claims 100 % on one benchmark a question.

    `run` are the policy's rules for runs; a benchmark asks its question five times.
    """
    processes = Processes(folder, folder / "logs")
    try:
        with running_hub(folder / "hub") as served:
            hub = served.local
            for name, question in questions.items():
                rows = "".join(json.dumps({"question": f"{n} {question}", "answer": "yes"}) + "\n" for n in range(5))
                hub.commit(
                    add_benchmark(hub, name, ECHO_SPEC), {"test.jsonl": rows.encode()}, CommitText("Add rows", "acme")
                )
            submit(hub, add_model(hub, "tiny/model"), "".join(entry(name, 100, task="echo") for name in questions))
            database = Database(f"sqlite:///{folder / 'reprofarm.db'}")
            database.upgrade()
            broker = start_redis(processes, folder / "redis")
            policy = folder / "policy.yaml"
            policy.write_text(yaml.safe_dump({"run": dict(run), "watch": SOON}))
            control = Plan(folder, free_port(), served.url, policy=policy).environment_of_control(broker)
            Signer.create(folder / "keys" / "signing.pem")
            processes.start(control_worker(control))
            processes.start(beat(control, folder))
            yield SmallFarm(folder, database, control, served.url, broker, processes)
            database.engine.dispose()
    finally:
        processes.stop()
