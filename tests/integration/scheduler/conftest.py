"""A farm with a report that nobody has taken in: one for each kind of database, and a copy of it for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.bench.postgres import PostgresServer
from scheduler.farm import Farm
from tests.support.databases import Databases
from tests.support.reported_farm import World, farm_of, reported_world


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Databases], World]]:
    """Makes the world of a kind of database when it is first asked for: that takes a worker, and seconds."""
    found: dict[PostgresServer | None, World] = {}
    with ExitStack() as stack:

        def world_on(databases: Databases) -> World:
            if databases.server not in found:
                made = reported_world(tmp_path_factory.mktemp("world"), databases)
                found[databases.server] = stack.enter_context(made)
            return found[databases.server]

        yield world_on


@pytest.fixture
def world(worlds: Callable[[Databases], World], databases: Databases) -> World:
    """Where the report comes from."""
    return worlds(databases)


@pytest.fixture
def farm(world: World, databases: Databases, tmp_path: Path) -> Iterator[Farm]:
    """The farm as it was when the report was on its way."""
    with farm_of(world, databases, tmp_path) as found:
        yield found
