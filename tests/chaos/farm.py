"""A farm of real processes under a supervisor, to be broken. Of the worker, only the engine is a stand-in."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psutil
import psycopg
import redis
import yaml
from sqlalchemy.exc import OperationalError

from deploy.bench.control_plane import control_names
from deploy.bench.postgres import Cluster, new_cluster
from deploy.farm.control_plane import api, beat, control_worker
from deploy.farm.environments import Plan
from deploy.farm.hub import hub as hub_process
from deploy.farm.processes import Process
from deploy.farm.redis import find_server
from deploy.localhub.commits import CommitText
from deploy.localhub.hub import LocalHub
from deploy.localhub.names import RepoName, RepoType
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from tests.chaos.slow_network import SlowNetwork, slow_network
from tests.chaos.supervisor import Supervisor
from tests.support import stand_in_engine
from tests.support.databases import create
from tests.support.echo import add_echo
from tests.support.hub_content import add_model, entry, submit
from tests.support.shared_runs import BorrowedRuns
from tests.support.stand_in_worker import stand_in_worker, worker_app
from tests.support.worker_bench import stand_in
from workers.processes.guarded import clean_environment
from workers.processes.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600.0
"""For anything at all to happen on a busy machine."""

FARM_USER = "farm"
SAMPLES = 8
ENGINE_START_SECONDS = 25.0
"""Of a model with `slow-start` in its name; the others' engines are up at once."""

QUICK, SLOW = "acme/quick", "acme/slow"
RUN = {"heartbeat_seconds": 1.0, "lease_seconds": 6.0}
"""Short, so that the whole matrix takes minutes."""

_MIGRATING = threading.Lock()
"""Alembic keeps the migration that goes on in a global."""

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a claim stands: on a model's main, or on a pull request of it."""

    model_id: str
    pull_request: int | None = None


@dataclass
class ChaosFarm:
    """The farm and all that can be done to it."""

    folder: Path
    database: Database
    supervisor: Supervisor
    hub: LocalHub
    network: SlowNetwork
    api_url: str
    broker_url: str
    lease_seconds: float
    control_workers: tuple[str, ...]
    """Their processes; a blow strikes the first."""

    models: int = 0

    def submit(self, dataset_id: str, *, slow_start: bool = False, broken: bool = False) -> Place:
        """Have a fresh model truly claim 100; a broken one's weights cannot be loaded."""
        self.models += 1
        name = f"tiny/m{self.models:03d}{'-slow-start' if slow_start else ''}"
        model = add_model(self.hub, name)
        if broken:
            self.hub.commit(model, {"model.safetensors": b"cut off"}, CommitText("Break it", "tiny"))
        submit(self.hub, model, entry(dataset_id, 100, task="echo"))
        return Place(name)

    def submit_again(self, place: Place, value: float) -> Place:
        """Have somebody claim another score of the same model; the same run answers that."""
        model = RepoName(RepoType.MODEL, place.model_id)
        text = entry(QUICK, value, task="echo")
        return Place(place.model_id, submit(self.hub, model, text, author="fan", create_pr=True, name=f"v{value}.yaml"))

    def wait(self, what: str, look: Callable[[], T]) -> T:
        """Look until there is something; a service that is away meanwhile is looked for again."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if found := look():
                    return found
            except (OperationalError, redis.RedisError, httpx2.HTTPError, psycopg.OperationalError):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE_SECONDS:.0f} s: {what}; logs are in {self.folder / 'logs'}")
            time.sleep(0.05)

    @property
    def signing_key(self) -> Path:
        """Where the control worker finds it."""
        return self.folder / "keys" / "signing.pem"

    def lose_redis_data(self) -> None:
        """Remove all that Redis would read when it starts again; for when it does not run."""
        for each in (self.folder / "redis").iterdir():
            if each.name != "redis.conf":
                shutil.rmtree(each) if each.is_dir() else each.unlink()

    def queued_in_broker(self, queue: str) -> list[dict[str, Any]]:
        """The envelopes that wait in a queue."""
        with redis.Redis.from_url(self.broker_url, socket_timeout=5) as client:
            found: Any = client.lrange(queue, 0, -1)
        return [json.loads(each) for each in found]

    def is_ready(self) -> bool:
        """Whether the API says that it can serve."""
        return httpx2.get(f"{self.api_url}/readyz", timeout=5, trust_env=False).is_success


@contextmanager
def chaos_farm(
    folder: Path,
    programs: Path,
    run: Mapping[str, float] | None = None,
    control_workers: int = 1,
    runs: Path | None = None,
) -> Iterator[ChaosFarm]:
    """Bring a farm up in `folder` and end it with the block. `programs` are PostgreSQL's; `run` is policy's.

    `runs` is the folder of a server of runs that others use too, where no worker is frozen; None is one of the farm's.
    """
    rules = dict(run or RUN)
    with ExitStack() as stack:
        supervisor = Supervisor(folder)
        stack.callback(supervisor.close, "redis", "postgresql")
        if runs is None:
            runs = _start_runs(supervisor, folder)
        cluster = new_cluster(programs)
        stack.callback(shutil.rmtree, cluster.server.folder, ignore_errors=True)
        supervisor.start(Process("postgresql", _as_its_user(cluster), clean_environment()))
        broker_url = _start_redis(supervisor, folder / "redis")
        hub = LocalHub(folder / "hub")
        stack.callback(hub.close)
        token = _fill(hub)
        hub_url = _start_hub(supervisor, folder / "hub")
        network = stack.enter_context(slow_network(hub_url))
        database = _database(cluster)
        stack.callback(database.engine.dispose)
        api_port = free_port()
        farm = ChaosFarm(
            folder,
            database,
            supervisor,
            hub,
            network,
            f"http://127.0.0.1:{api_port}",
            broker_url,
            rules.get("lease_seconds", 30.0),
            control_names(control_workers),
        )
        policy = folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(_policy(rules)))
        own = {"REPROFARM_DATABASE_URL": database.url}
        plan = Plan(folder, api_port, network.url, token, policy, own)
        Signer.create(farm.signing_key)
        _start_farm(farm, plan.environment_of_control(broker_url, writes_to_hub=True), hub_url, runs)
        farm.wait("the API is ready", farm.is_ready)
        # One without an order ends at once.
        first = BorrowedRuns(runs).start([], {}, folder, folder / "logs" / "first-run.log")
        farm.wait("runs can be forked", lambda: first.poll() is not None)
        yield farm


def _fill(hub: LocalHub) -> str:
    """Two benchmarks; the farm's token."""
    for name, word in ((QUICK, ""), (SLOW, "[slow] ")):
        add_echo(hub, name, [(f"{n} {word}Say: yes", "yes") for n in range(SAMPLES)])
    return hub.add_token(FARM_USER)


def _policy(run: Mapping[str, float]) -> dict[str, Any]:
    return {
        "watch": {"scan_seconds": 1.0},
        # One request at a time: a slow sample is then alone, and samples end one after the other.
        "engine": {"concurrency": 1},
        "run": dict(run),
        "publish": {"mode": "pull_request"},
    }


def _as_its_user(cluster: Cluster) -> list[str]:
    if os.geteuid() != 0:
        return cluster.command
    return ["setpriv", "--reuid", cluster.user, "--regid", cluster.user, "--clear-groups", "--", *cluster.command]


def _database(cluster: Cluster) -> Database:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            create(cluster.server, "farm")
            break
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    database = Database(cluster.server.url("farm"))
    with _MIGRATING:
        database.upgrade()
    return database


def _start_redis(supervisor: Supervisor, folder: Path) -> str:
    """Unlike the one-machine farm's own, this one keeps its data: losing them is a blow of its own."""
    folder.mkdir()
    port, password = free_port(), secrets.token_urlsafe(12)
    configuration = folder / "redis.conf"
    configuration.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{folder}"\nsave ""\nappendonly yes\n'
    )
    configuration.chmod(0o600)
    supervisor.start(Process("redis", [str(find_server()), str(configuration)], clean_environment()))
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _start_hub(supervisor: Supervisor, folder: Path) -> str:
    port = free_port()
    supervisor.start(hub_process(folder, port))
    return f"http://127.0.0.1:{port}"


def _start_farm(farm: ChaosFarm, control: dict[str, str], hub_url: str, runs: Path) -> None:
    """As deploy/farm does, each with what it needs."""
    supervisor, folder = farm.supervisor, farm.folder
    supervisor.start(api(control))
    for name in farm.control_workers:
        supervisor.start(control_worker(control, name))
    supervisor.start(beat(control))
    engine = stand_in("--slow-seconds", "1.0", "--start-seconds", str(ENGINE_START_SECONDS))
    app = worker_app(engine, runs)
    supervisor.start(stand_in_worker(folder, farm.broker_url, app, {"REPROFARM_WORKER_HUB_ENDPOINT": hub_url}))


def _start_runs(supervisor: Supervisor, folder: Path) -> Path:
    """The folder of a server of runs: importing lighteval takes longer than all else that a run does here."""
    runs = folder / "run-server"
    runs.mkdir()
    environment = clean_environment(PYTHONPATH=str(PROJECT), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    supervisor.start(Process("runs", [sys.executable, "-m", "workers.runs.run_server", str(runs)], environment))
    return runs


def worker_family(farm: ChaosFarm) -> list[psutil.Process]:
    """The worker with all below it, and the runs that were forked for it: all of a server that is the farm's own."""
    return [*farm.supervisor.family("worker"), *farm.supervisor.main("runs").children(recursive=True)]


def engine_of(farm: ChaosFarm) -> Any:
    """The worker's engine process, not its guard; None where it has none now."""
    for each in farm.supervisor.family("worker"):
        try:
            if each.cmdline()[1:2] == [str(stand_in_engine.__file__)]:
                return each
        except Exception as error:
            if type(error).__name__ not in {"NoSuchProcess", "ZombieProcess", "AccessDenied"}:
                raise
    return None
