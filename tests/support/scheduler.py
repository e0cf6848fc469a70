"""A control plane for tests: a real database, a real local Hub, and plain calls of what its tasks call."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import inspect, select

from scheduler.database.session import Database
from scheduler.database.tables import Claim, Event, Reproduction
from scheduler.hub.hub import Hub
from scheduler.planning.planning import plan
from scheduler.watch.scan import scan
from specs.policy.rules import Policy
from specs.policy.watch import WatchRules
from tests.support.databases import SQLITE, Databases
from tests.support.localhub import RunningHub, running_hub


@dataclass
class ControlPlane:
    """What a control worker has, with the verbs that tests use."""

    database: Database
    served: RunningHub
    hub: Hub
    policy: Policy

    def scan(self, watch: WatchRules | None = None) -> None:
        """One look at the Hub."""
        scan(self.database, self.hub, watch or self.policy.watch)

    def plan(self) -> int:
        """One round of planning."""
        return plan(self.database, self.hub, self.policy)

    def claims(self) -> list[Claim]:
        """All claims, in the order in which they were found."""
        with self.database.reading() as session:
            return list(session.scalars(select(Claim).order_by(Claim.created_at, Claim.path, Claim.entry)))

    def reproductions(self) -> list[Reproduction]:
        """All reproductions, oldest first."""
        with self.database.reading() as session:
            return list(session.scalars(select(Reproduction).order_by(Reproduction.created_at)))

    def history(self, subject_id: str) -> list[str]:
        """What the record says of a thing, oldest first."""
        with self.database.reading() as session:
            events = session.scalars(select(Event).where(Event.subject_id == subject_id).order_by(Event.event_id))
            return [event.what for event in events]

    def reasons(self, subject_id: str) -> list[str]:
        """Why each thing in that record happened, oldest first."""
        with self.database.reading() as session:
            events = session.scalars(select(Event).where(Event.subject_id == subject_id).order_by(Event.event_id))
            return [event.why for event in events]


def migrated_database(folder: Path, databases: Databases = SQLITE) -> Database:
    """A fresh database with the farm's tables: a copy of one that this process migrated once, which is much quicker."""
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(databases.copy(_migrated_once(databases), folder))
    # A test that asked for its address before has an empty one already, which is not copied over.
    if not inspect(database.engine).has_table("claim"):
        database.upgrade()
    return database


@cache
def _migrated_once(databases: Databases) -> str:
    folder = TemporaryDirectory(prefix="reprofarm-migrated-")
    _KEPT.append(folder)
    database = Database(databases.url(Path(folder.name)))
    database.upgrade()
    database.engine.dispose()
    return database.url


_KEPT: list[TemporaryDirectory[str]] = []
"""Removed when the process ends."""


@contextmanager
def control_plane(folder: Path, databases: Databases = SQLITE, policy: Policy | None = None) -> Iterator[ControlPlane]:
    """A control plane beside an empty local Hub."""
    with running_hub(folder / "hub") as served:
        database = migrated_database(folder, databases)
        hub = Hub(served.url, None, request_seconds=30)
        try:
            yield ControlPlane(database, served, hub, policy or Policy())
        finally:
            database.engine.dispose()


@contextmanager
def control_plane_like(other: Path, folder: Path, databases: Databases = SQLITE) -> Iterator[ControlPlane]:
    """A control plane beside a Hub, both as those in another folder were left: quicker than to do all of it again."""
    shutil.copytree(other / "hub", folder / "hub")
    databases.copy(databases.url(other), folder)
    with control_plane(folder, databases) as plane:
        yield plane


@pytest.fixture
def empty_farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    """A control plane beside an empty Hub, for modules that say `farm = empty_farm`."""
    with control_plane(tmp_path, databases) as plane:
        yield plane


@pytest.fixture
def empty_farm_on_sqlite(tmp_path: Path) -> Iterator[ControlPlane]:
    """The same where no test depends on the kind of database, or only those that take another."""
    with control_plane(tmp_path) as plane:
        yield plane
