"""Tests that use `databases` run on SQLite and on PostgreSQL, unless their module says `databases = mostly_sqlite`."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from deploy.bench.postgres import NO_SERVER, PostgresServer, postgres_programs, running_postgres
from tests.support.databases import Databases, databases_of


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
    yield from databases_of(request.param, request)


@pytest.fixture
def impatient_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's client tries again as often as ever, and at once: in earnest it waits 23 seconds in all."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
