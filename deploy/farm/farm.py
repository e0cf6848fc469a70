"""Brings a one-machine farm up, in the order in which its processes need one another, and takes it down."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.farm import control_plane, redis
from deploy.farm.environments import Plan, api_host, hand_back_seconds, settings_in, shared_out
from deploy.farm.errors import FarmError
from deploy.farm.http_probe import answers
from deploy.farm.lock import only_one_in
from deploy.farm.own_policy import write_policy
from deploy.farm.ports import is_free
from deploy.farm.processes import Process, Processes
from deploy.farm.stopping import WORKER_PREFIX, nothing_runs, stop_in_order
from scheduler.badges.signing import Signer
from scheduler.database.session import Database
from scheduler.settings import Settings
from specs.policy.rules import read_policy
from specs.processes.atomic_write import write_atomically
from specs.processes.secrets import masked_url

STATE_FILE = "farm.json"
"""In the farm's folder while it runs: where its API is."""

API_START_SECONDS = 300.0
STOP_SECONDS = 5.0
"""For a worker to end once it has handed its batch back."""


@dataclass(frozen=True)
class RunningFarm:
    """A farm that is up."""

    api_url: str
    hub_url: str
    processes: Processes


@contextmanager
def running_farm(plan: Plan, processes: Processes) -> Iterator[RunningFarm]:
    """Run the farm until the block ends, then stop all of `processes`, workers first and Redis last.

    Raises:
        FarmError: it does not come up, or runs in that folder already.
        PolicyError: a setting or the policy is wrong.
    """
    with only_one_in(plan.folder, "farm"):
        try:
            farm = _start(plan, processes)
            _write_state(plan.folder, farm)
            yield farm
        finally:
            (plan.folder / STATE_FILE).unlink(missing_ok=True)
            stop_in_order(processes, redis.NAME, lambda: nothing_runs(_database_url(plan)))


def _start(plan: Plan, processes: Processes) -> RunningFarm:
    host = api_host(plan.operator)
    if not is_free(host, plan.api_port):
        what = f"port {plan.api_port} of {host} is taken, or is none that you may listen on"
        raise FarmError(f"{what}; choose another with --api-port, or 0 for a free one")
    # Read before anything is made or started: it can be wrong.
    control = plan.environment_of_control("")
    if settings_in(control).policy is None:
        write_policy(plan.folder)
        control = plan.environment_of_control("")
    pools = read_policy(settings_in(control).policy).pools
    own_broker = not plan.operator.get("REPROFARM_BROKER_URL")
    broker_url = redis.start_redis(processes, plan.folder.resolve() / "redis") if own_broker else ""
    control = plan.environment_of_control(broker_url)
    settings = settings_in(control)
    _prepare(settings)
    processes.start(control_plane.api(control))
    publishing = plan.environment_of_control(broker_url, writes_to_hub=True)
    # It says what becomes of claims, runs and workers; beat would say each second what it asks for.
    processes.start(control_plane.control_worker(publishing, log_level="INFO"))
    processes.start(control_plane.beat(control))
    gpus = shared_out(pools, os.environ.get("CUDA_VISIBLE_DEVICES"))
    for pool in pools:
        told = ["--hostname", f"{pool.name}@%h", "--loglevel", "INFO"]
        command = control_plane.celery("workers.app", "worker", "-Q", pool.queue, *told)
        environment = plan.environment_of_worker(pool, control, gpus.get(pool.name))
        grace_seconds = hand_back_seconds(environment) + STOP_SECONDS
        processes.start(Process(f"{WORKER_PREFIX}{pool.name}", command, environment, grace_seconds))
    processes.wait_until(f"the API at {plan.api_url}", lambda: answers(f"{plan.api_url}/readyz"), API_START_SECONDS)
    return RunningFarm(plan.api_url, settings.hub_endpoint, processes)


def _database_url(plan: Plan) -> str:
    return settings_in(plan.environment_of_control("")).database_url


def _prepare(settings: Settings) -> None:
    database = Database(settings.database_url)
    database.upgrade()
    database.engine.dispose()
    if settings.signing_key.exists():
        # A key that cannot be used is found now, not when the first badge is due.
        Signer.load(settings.signing_key)
    else:
        Signer.create(settings.signing_key)


def _write_state(folder: Path, farm: RunningFarm) -> None:
    state = {
        "api": farm.api_url,
        "hub": masked_url(farm.hub_url),
        "pid": os.getpid(),
        "processes": farm.processes.pids,
        "logs": {log.name: str(log.path) for log in farm.processes.logs},
    }
    write_atomically(folder / STATE_FILE, json.dumps(state, indent=2) + "\n")
