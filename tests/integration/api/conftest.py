from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cli import follow, logs
from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.api.callers import allowance
from scheduler.api.live import count_cache
from scheduler.messaging import broker_readiness
from tests.support.api import RunningApi, running_api
from tests.support.databases import Databases
from tests.support.waiting import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives way while something takes longer than it should, as all may on a busy machine, does not."""
    # Tests write and read at once: a count that was dear would be old for a while.
    monkeypatch.setattr(count_cache, "CHEAP_SECONDS", math.inf)
    monkeypatch.setattr(allowance, "REDIS_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(broker_readiness, "BROKER_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that follow something look at it more often than a person needs."""
    for command in (follow, logs):
        monkeypatch.setattr(command, "LOOK_SECONDS", 0.05)


@pytest.fixture
def api(tmp_path: Path, databases: Databases) -> Iterator[RunningApi]:
    with running_api(tmp_path, databases) as found:
        yield found


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[RunningApi]:
    """One for all tests of a module that only ask: to make the app takes longer than to answer them."""
    with running_api(tmp_path_factory.mktemp("shared"), databases) as found:
        yield found


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    processes = Processes(folder, folder / "logs")
    try:
        yield start_redis(processes, folder)
    finally:
        processes.stop()
