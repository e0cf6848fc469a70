"""A farm of real processes, beside a local Hub that people can sign in with.

API, control worker, beat and workers, on Redis and SQLite. Of the workers, only the engines are stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from sqlalchemy import select

from deploy.farm.control_plane import api, beat, control_worker
from deploy.farm.environments import Plan
from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.database.tables import Attempt, Claim, Reproduction
from scheduler.state_machine import ReproductionState
from tests.support.echo import add_echo
from tests.support.hub_content import add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub
from tests.support.stand_in_worker import stand_in_worker, worker_app
from tests.support.waiting import PROCESS_PATIENCE_SECONDS, log_ends, until
from tests.support.worker_bench import stand_in
from workers.processes.ports import free_port

BENCHMARK, MODEL = "acme/echo", "tiny/model"
SAMPLES = 60
WATCHED = {
    "verification": {"mode": "full", "scale": "percent"},
    "engine": {"concurrency": 2},
    "run": {"heartbeat_seconds": 1.0, "lease_seconds": 120.0},
}
"""Policy. Every sample is asked, two at a time, so that there is something to watch."""

SOON = {"scan_seconds": 3.0}
"""The first scan comes so long after the start, which a control worker takes to be there; by default a minute."""


@dataclass
class RealFarm:
    """A farm that is up."""

    url: str
    hub: RunningHub
    token: str
    """Of the model's owner, on the Hub."""

    database: Database
    control: dict[str, str]
    """Environment of the control plane's processes."""

    processes: Processes
    folder: Path
    broker: str
    more: Mapping[str, str]
    """In the environment of every process, besides what it needs."""

    @property
    def hold(self) -> Path:
        """While this file is there, no engine answers what is `[slow]`."""
        return self.folder / "hold"

    @property
    def hurry(self) -> Path:
        """Once this file is there, every engine answers at once."""
        return self.folder / "hurry"

    def start_api(self) -> None:
        """Have the API answer at `url`, soon."""
        self.processes.start(api(self.control))

    def start_worker(self, name: str = "worker", slow_seconds: float = 0.25) -> None:
        """Start a worker of pool cpu with a state folder of its own; its engine takes so long for what is `[slow]`."""
        told = "--held-by", str(self.hold), "--hurried-by", str(self.hurry)
        app = worker_app(stand_in("--slow-seconds", str(slow_seconds), *told))
        settings = {
            "REPROFARM_WORKER_HUB_ENDPOINT": self.hub.url,
            "REPROFARM_WORKER_ALIVE_SECONDS": "1",
            # A busy machine takes many times as long as an idle one to close a log.
            "REPROFARM_WORKER_HAND_BACK_SECONDS": str(PROCESS_PATIENCE_SECONDS / 2),
            **self.more,
        }
        worker = stand_in_worker(
            self.folder, self.broker, app, settings, name=name, grace_seconds=PROCESS_PATIENCE_SECONDS / 2
        )
        self.processes.start(worker)

    def wait(self, is_so: Callable[[], object]) -> None:
        """Wait for something, as long as all processes live."""

        def alive_and_so() -> object:
            self.processes.check()
            return is_so()

        # Most looks ask the farm's own processes, which need the cores for what is waited for.
        until(alive_and_so, lambda: log_ends(self.processes), PROCESS_PATIENCE_SECONDS, look_seconds=0.25)

    def get(self, path: str) -> Any:
        """What the API answers."""
        return httpx2.get(f"{self.url}{path}", timeout=60).json()

    def claims(self) -> list[dict[str, object]]:
        """What the API says of claims; none while it is not up."""
        try:
            found: list[dict[str, object]] = self.get("/v1/claims")["items"]
        except httpx2.TransportError:
            return []
        return found

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


@contextmanager
def watched_farm(folder: Path) -> Iterator[RealFarm]:
    """One with an API, whose model claims 100 % on a benchmark that is answered right, slowly; without workers yet."""
    questions = {BENCHMARK: [f"{number} [slow] Say: yes" for number in range(SAMPLES)]}
    with real_farm(folder, WATCHED, questions) as farm:
        farm.start_api()
        yield farm


@contextmanager
def real_farm(
    folder: Path,
    policy: Mapping[str, Any],
    questions: Mapping[str, Iterable[str]],
    environment: Mapping[str, str] | None = None,
) -> Iterator[RealFarm]:
    """Run control worker and beat until the block ends, with a model that claims 100 % on each benchmark.

    `questions` are those of the benchmarks, all of which are to be answered with yes. `environment` is added to that of
    every process.
    """
    processes = Processes(folder, folder / "logs")
    try:
        with running_hub(folder / "hub") as served:
            hub = served.local
            for name, asked in questions.items():
                add_echo(hub, name, [(question, "yes") for question in asked])
            submit(hub, add_model(hub, MODEL), "".join(entry(name, 100, task="echo") for name in questions))
            token = hub.storage.tokens.add("tiny", "write", ())
            port, more = free_port(), environment or {}
            url = f"http://127.0.0.1:{port}"
            application = hub.storage.applications.add("the farm", (f"{url}/auth/callback",))
            own = {
                "REPROFARM_HUB_OAUTH_CLIENT_ID": application.client_id,
                "REPROFARM_HUB_OAUTH_CLIENT_SECRET": application.secret,
                **more,
            }
            rules = folder / "policy.yaml"
            rules.write_text(yaml.safe_dump({"watch": SOON, **policy}))
            broker = start_redis(processes, folder / "redis")
            control = Plan(folder, port, served.url, policy=rules, operator=own).environment_of_control(broker)
            Signer.create(folder / "keys" / "signing.pem")
            database = Database(f"sqlite:///{folder / 'reprofarm.db'}")
            database.upgrade()
            processes.start(control_worker(control, log_level="INFO"))
            processes.start(beat(control))
            yield RealFarm(url, served, token, database, control, processes, folder, broker, more)
            database.engine.dispose()
    finally:
        processes.stop()
