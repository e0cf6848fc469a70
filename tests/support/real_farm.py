"""A farm of real processes for a browser, beside a local Hub that people can sign in with.

API, control worker, beat and worker, on Redis and SQLite. Of the worker, only the engine is a stand-in.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from deploy.farm.ports import free_port
from deploy.farm.processes import Process, Processes
from deploy.farm.redis import start_redis
from deploy.localhub.commits import CommitText
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.localhub import RunningHub, running_hub
from tests.support.shared_runs import worker_app
from tests.support.worker_bench import stand_in
from workers.guarded import clean_environment

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600.0
"""Of a machine that does much else: a worker reads several large libraries for each run."""
BENCHMARK, MODEL = "acme/echo", "tiny/model"
SAMPLES = 60
SPEC = """\
evaluation_framework: inspect-ai
tasks:
  - id: echo
    split: test
    field_spec: {input: question, target: answer}
    solvers: [{name: generate}]
    scorers: [{name: exact}]
"""
POLICY = {
    "verification": {"mode": "full", "scale": "percent"},
    "engine": {"concurrency": 2},
    "run": {"heartbeat_seconds": 1.0, "lease_seconds": 120.0},
    "watch": {"scan_seconds": 5.0},
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

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait for something, as long as all processes live."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            self.processes.check()
            assert time.monotonic() < deadline, (self.folder / "logs" / "worker.log").read_text()[-3000:]
            time.sleep(0.2)

    def claims(self) -> list[dict[str, object]]:
        """What the API says of claims; none while it is not up."""
        try:
            found: list[dict[str, object]] = httpx.get(f"{self.url}/v1/claims", timeout=10).json()["items"]
        except httpx.TransportError:
            return []
        return found


@contextmanager
def real_farm(folder: Path) -> Iterator[RealFarm]:
    """Run one until the block ends, with a claim of 100 % on a benchmark that is answered right, slowly."""
    processes = Processes(folder, folder / "logs")
    try:
        with running_hub(folder / "hub") as served:
            hub = served.local
            asked = ({"question": f"{number} [slow] Say: yes", "answer": "yes"} for number in range(SAMPLES))
            rows = "".join(json.dumps(row) + "\n" for row in asked)
            repo = add_benchmark(hub, BENCHMARK, SPEC)
            hub.commit(repo, {"test.jsonl": rows.encode()}, CommitText("Add rows", "acme"))
            submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 100, task="echo"))
            token = hub.storage.tokens.add("tiny", "write", ())
            url = f"http://127.0.0.1:{free_port()}"
            _start(folder, url, served, processes)
            yield RealFarm(url, served, token, processes, folder)
    finally:
        processes.stop()


def _start(folder: Path, url: str, hub: RunningHub, processes: Processes) -> None:
    application = hub.local.storage.applications.add("the farm", (f"{url}/auth/callback",))
    broker = start_redis(processes, folder / "redis")
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    (folder / "worker_with_stand_in.py").write_text(worker_app(stand_in("--slow-seconds", "0.25")))
    control = clean_environment(
        PYTHONPATH=str(PROJECT),
        REPROFARM_DATABASE_URL=f"sqlite:///{folder / 'reprofarm.db'}",
        REPROFARM_BROKER_URL=broker,
        REPROFARM_HUB_ENDPOINT=hub.url,
        REPROFARM_EVIDENCE_URL=f"file://{folder}/evidence",
        REPROFARM_SIGNING_KEY=str(folder / "keys" / "signing.pem"),
        REPROFARM_RETIRED_KEYS=str(folder / "keys" / "retired"),
        REPROFARM_POLICY=str(policy),
        REPROFARM_PUBLIC_URL=url,
        REPROFARM_API_PORT=url.rpartition(":")[2],
        REPROFARM_HUB_OAUTH_CLIENT_ID=application.client_id,
        REPROFARM_HUB_OAUTH_CLIENT_SECRET=application.secret,
    )
    worker = clean_environment(
        PYTHONPATH=f"{PROJECT}:{folder}",
        REPROFARM_WORKER_BROKER_URL=broker,
        REPROFARM_WORKER_HUB_ENDPOINT=hub.url,
        REPROFARM_WORKER_EVIDENCE_URL=f"file://{folder}/evidence",
        REPROFARM_WORKER_CACHE_FOLDER=str(folder / "cache"),
        REPROFARM_WORKER_STATE_FOLDER=str(folder / "state"),
        REPROFARM_WORKER_POOL="cpu",
    )
    Signer.create(folder / "keys" / "signing.pem")
    database = Database(f"sqlite:///{folder / 'reprofarm.db'}")
    database.upgrade()
    database.engine.dispose()
    celery = [sys.executable, "-m", "celery", "-A"]
    threads = ["--pool", "threads", "--concurrency", "4"]
    beat = ["--schedule", str(folder / "beat-schedule"), "--pidfile", ""]
    take = ["worker", "-Q", "pool.cpu", "-l", "INFO", "--hostname", "cpu@%h"]
    processes.start(Process("api", [sys.executable, "-m", "scheduler.api"], control))
    processes.start(Process("control", [*celery, "scheduler.app", "worker", "-Q", "control", *threads], control))
    processes.start(Process("beat", [*celery, "scheduler.schedule", "beat", *beat], control))
    processes.start(Process("worker", [*celery, "worker_with_stand_in", *take], worker))
