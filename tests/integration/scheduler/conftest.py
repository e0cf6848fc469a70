"""What several files begin with: a database; farms that planned, published, or have a report to take in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.bench.postgres import PostgresServer
from deploy.localhub.names import RepoName
from scheduler.database.session import Database
from scheduler.farm import Farm
from tests.support.databases import SQLITE, Databases
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.publishing_farm import Publishing, published_farm
from tests.support.reported_farm import World, farm_of, reported_world
from tests.support.rows import Rows
from tests.support.scheduler import ControlPlane, control_plane, migrated_database

TASKS = """\
evaluation_framework: inspect-ai
tasks:
""" + "".join(
    f"""\
  - id: task{n}
    field_spec: {{input: question, target: answer}}
    solvers: [{{name: generate}}]
    scorers: [{{name: includes}}]
"""
    for n in range(3)
)


@pytest.fixture
def database(tmp_path: Path, databases: Databases) -> Iterator[Database]:
    """With the farm's tables, and nothing in them."""
    found = migrated_database(tmp_path, databases)
    yield found
    found.engine.dispose()


@pytest.fixture
def rows(database: Database) -> Rows:
    """What fills it."""
    return Rows(database)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Publishing]:
    """One claim verified and published, one a mismatch. On SQLite; where queries are the point, `either`."""
    with published_farm(tmp_path, SQLITE) as found:
        yield found


@pytest.fixture
def either(tmp_path: Path, databases: Databases) -> Iterator[Publishing]:
    """The same on both kinds of databases."""
    with published_farm(tmp_path, databases) as found:
        yield found


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """The folder of a farm that has planned claims on two tasks for each of two models; to be copied."""
    folder = tmp_path_factory.mktemp("two_models")
    with control_plane(folder, databases) as plane:
        hub = plane.served.local
        add_benchmark(hub, "acme/bench", TASKS)
        for name in ("one", "two"):
            model = add_model(hub, f"tiny/{name}", name.encode())
            submit(hub, model, entry("acme/bench", 50, task="task0") + entry("acme/bench", 60, task="task1"))
        plane.scan()
        plane.plan()
    return folder


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


@pytest.fixture
def model(farm: ControlPlane) -> RepoName:
    """One that claims 79.5 on a benchmark, on its main branch; of modules whose farm is beside a Hub."""
    add_benchmark(farm.served.local, "acme/capitals")
    claiming = add_model(farm.served.local, "tiny/model")
    submit(farm.served.local, claiming, entry("acme/capitals", 79.5))
    return claiming
