"""A control plane of real processes on a given database, for measurements that need nothing else of a farm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from deploy.farm.control_plane import api, beat, control_worker
from deploy.farm.environments import Plan
from deploy.farm.http_probe import answers
from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.badges.signing import Signer
from specs.policy.rules import Policy
from workers.processes.ports import free_port

NO_HUB = "http://127.0.0.1:9"
"""Nothing listens there: what is measured asks nothing of a Hub."""

API_SECONDS = 120


@dataclass(frozen=True)
class ControlPlane:
    """Where its parts are."""

    api_url: str
    broker_url: str
    evidence: Path


def start_control_plane(
    folder: Path, processes: Processes, policy: Policy, database_url: str | None, control_workers: int = 1
) -> ControlPlane:
    """Start Redis, API, control workers and beat; `database_url` is of a migrated database, None is SQLite in `folder`.

    Raises:
        FarmError: it does not come up.
    """
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump(policy.model_dump(mode="json")))
    operator = {"REPROFARM_DATABASE_URL": database_url} if database_url else {}
    plan = Plan(folder, free_port(), hub_endpoint=NO_HUB, policy=file, operator=operator)
    broker = start_redis(processes, folder / "redis")
    told = plan.environment_of_control(broker)
    Signer.create(folder / "keys" / "signing.pem")
    processes.start(api(told))
    for name in control_names(control_workers):
        processes.start(control_worker(told, name))
    processes.start(beat(told))
    processes.wait_until("the API", lambda: answers(f"{plan.api_url}/readyz"), API_SECONDS)
    return ControlPlane(plan.api_url, broker, folder.resolve() / "evidence")


def control_names(control_workers: int) -> tuple[str, ...]:
    """What so many control workers of one farm are called."""
    return ("control", *(f"control-{number}" for number in range(2, control_workers + 1)))
