from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from scheduler.api import counted
from tests.support.api import RunningApi, running_api
from tests.support.databases import Databases


@pytest.fixture(autouse=True)
def counts_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests write and read at once. What took long to count, as it may on a busy machine, would be old for a while."""
    monkeypatch.setattr(counted, "CHEAP_SECONDS", math.inf)


@pytest.fixture
def api(tmp_path: Path, databases: Databases) -> Iterator[RunningApi]:
    with running_api(tmp_path, databases) as found:
        yield found


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    processes = Processes(folder, folder / "logs")
    try:
        yield start_redis(processes, folder)
    finally:
        processes.stop()
