"""Tests that use `databases` run on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.databases import NO_SERVER, Databases, PostgresServer, postgres_programs, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for this process's tests."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip(NO_SERVER)
    with running_postgres(programs) as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Where a test gets its databases from."""
    if request.param == "sqlite":
        yield Databases(None)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield Databases(server)
    # Several hundred of them would fill more than a machine's memory.
    server.drop_copies()
