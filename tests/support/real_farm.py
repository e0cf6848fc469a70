"""A farm of real processes for a browser, beside a local Hub that people can sign in with.

API, control worker, beat and worker, on Redis and SQLite. Of the worker, only the engine is a stand-in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.farm.control_plane import api, beat, control_worker
from deploy.farm.environments import Plan
from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from deploy.localhub.commits import CommitText
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from tests.support.echo import ECHO_SPEC
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub
from tests.support.stand_in_worker import stand_in_worker, worker_app
from tests.support.worker_bench import stand_in
from workers.processes.ports import free_port

PATIENCE_SECONDS = 600.0
"""Of a machine that does much else: a worker reads several large libraries for each run."""
BENCHMARK, MODEL = "acme/echo", "tiny/model"
SAMPLES = 60
POLICY = {
    "verification": {"mode": "full", "scale": "percent"},
    "engine": {"concurrency": 2},
    "run": {"heartbeat_seconds": 1.0, "lease_seconds": 120.0},
    "watch": {"scan_seconds": 2.0},
}
"""Every sample is asked, two at a time, so that there is something to watch."""


@dataclass
class RealFarm:
    """A farm that is up."""

    url: str
    hub: RunningHub
    token: str
    """Of the model's owner, on the Hub."""

    processes: Processes
    folder: Path
    broker: str
    more: Mapping[str, str]
    """In the environment of every process, besides what it needs."""

    @property
    def hold(self) -> Path:
        """While this file is there, the engine answers nothing."""
        return self.folder / "hold"

    def start_worker(self, name: str = "worker", slow_seconds: float = 0.25) -> None:
        """Start a worker of pool cpu with a state folder of its own; its engine takes so long for each answer."""
        app = worker_app(stand_in("--slow-seconds", str(slow_seconds), "--held-by", str(self.hold)))
        settings = {
            "REPROFARM_WORKER_HUB_ENDPOINT": self.hub.url,
            # A busy machine takes many times as long as an idle one to close a log.
            "REPROFARM_WORKER_HAND_BACK_SECONDS": str(PATIENCE_SECONDS / 2),
            **self.more,
        }
        worker = stand_in_worker(self.folder, self.broker, app, settings, name=name, grace_seconds=PATIENCE_SECONDS / 2)
        self.processes.start(worker)

    def get(self, path: str) -> Any:
        """What the API answers."""
        return httpx.get(f"{self.url}{path}", timeout=60).json()

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait for something, as long as all processes live."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            self.processes.check()
            assert time.monotonic() < deadline, "\n".join(log.path.read_text()[-3000:] for log in self.processes.logs)
            time.sleep(0.2)

    def claims(self) -> list[dict[str, object]]:
        """What the API says of claims; none while it is not up."""
        try:
            found: list[dict[str, object]] = httpx.get(f"{self.url}/v1/claims", timeout=60).json()["items"]
        except httpx.TransportError:
            return []
        return found


@contextmanager
def real_farm(
    folder: Path, environment: Mapping[str, str] | None = None, *, worker: bool = True, slow_seconds: float = 0.25
) -> Iterator[RealFarm]:
    """Run one until the block ends, with a claim of 100 % on a benchmark that is answered right, slowly.

    `environment` is added to that of every process; without a `worker`, there is none yet. Two answers at a time take
    `slow_seconds`.
    """
    processes = Processes(folder, folder / "logs")
    try:
        with running_hub(folder / "hub") as served:
            hub = served.local
            asked = ({"question": f"{number} [slow] Say: yes", "answer": "yes"} for number in range(SAMPLES))
            rows = "".join(json.dumps(row) + "\n" for row in asked)
            repo = add_benchmark(hub, BENCHMARK, ECHO_SPEC)
            hub.commit(repo, {"test.jsonl": rows.encode()}, CommitText("Add rows", "acme"))
            submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 100, task="echo"))
            token = hub.storage.tokens.add("tiny", "write", ())
            broker = start_redis(processes, folder / "redis")
            port = free_port()
            farm = RealFarm(f"http://127.0.0.1:{port}", served, token, processes, folder, broker, environment or {})
            _start(farm, port)
            if worker:
                farm.start_worker(slow_seconds=slow_seconds)
            yield farm
    finally:
        processes.stop()


def _start(farm: RealFarm, port: int) -> None:
    folder, processes = farm.folder, farm.processes
    application = farm.hub.local.storage.applications.add("the farm", (f"{farm.url}/auth/callback",))
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    own = {
        "REPROFARM_HUB_OAUTH_CLIENT_ID": application.client_id,
        "REPROFARM_HUB_OAUTH_CLIENT_SECRET": application.secret,
        **farm.more,
    }
    control = Plan(folder, port, farm.hub.url, policy=policy, operator=own).environment_of_control(farm.broker)
    Signer.create(folder / "keys" / "signing.pem")
    database = Database(f"sqlite:///{folder / 'reprofarm.db'}")
    database.upgrade()
    database.engine.dispose()
    processes.start(api(control))
    processes.start(control_worker(control, log_level="INFO"))
    processes.start(beat(control, folder))
