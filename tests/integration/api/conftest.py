from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.farm.processes import Processes
from deploy.farm.redis import start_redis
from tests.support.api import RunningApi, running_api
from tests.support.databases import Databases


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
