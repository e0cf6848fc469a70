"""Tests that use `databases` run on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.bench.postgres import NO_SERVER, PostgresServer, postgres_programs, running_postgres
from tests.support.databases import Databases


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for this process's tests."""
    if postgres_programs() is None:
        pytest.skip(NO_SERVER)
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Where a test gets its databases from."""
    if request.param == "sqlite":
        yield Databases(None)
        return
    found = Databases(request.getfixturevalue("postgres"))
    yield found
    # Several hundred of them would fill more than a machine's memory.
    found.drop_copies()
