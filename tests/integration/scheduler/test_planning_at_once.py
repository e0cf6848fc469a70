"""Claims that appear are planned and sent out without waiting for the clock."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from deploy.bench.load_rows import add_claims, load_policy
from scheduler.control_worker import process, regular
from scheduler.database.session import Database
from scheduler.database.tables import Claim
from scheduler.hub.hub import Hub
from scheduler.planning import planning
from scheduler.schedule import DISPATCH, PLAN
from scheduler.state_machine import ClaimState
from tests.support.scheduler import control_plane


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that were to follow at once, by name; none of them does."""
    found: list[str] = []
    for task in (regular.plan_claims, regular.dispatch_batches):
        monkeypatch.setattr(task, "apply_async", lambda name=task.name, **_: found.append(name))
    return found


def test_planning_goes_on_until_nothing_waits(
    database: Database, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = SimpleNamespace(database=database, hub=Hub("http://127.0.0.1:9", None, 5), policy=load_policy())
    monkeypatch.setattr(process, "farm", lambda: farm)
    monkeypatch.setattr(planning, "PLANNED_AT_ONCE", 10)
    monkeypatch.setattr(regular, "ROUNDS", 2)
    add_claims(database, 25)
    regular.plan_claims()
    assert followed == [DISPATCH, DISPATCH, PLAN]
    regular.plan_claims()
    assert followed[3:] == [DISPATCH]
    regular.plan_claims()
    assert followed[4:] == [], "nothing was planned, so nothing has to be sent out"


def test_what_a_look_at_the_hub_found_is_planned_at_once(
    tmp_path: Path, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with control_plane(tmp_path) as plane:
        monkeypatch.setattr(process, "farm", lambda: plane)
        regular.scan_hub()
        assert followed == [PLAN]


def test_planning_does_not_fail_because_nobody_can_be_told_to_follow(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = SimpleNamespace(database=database, hub=Hub("http://127.0.0.1:9", None, 5), policy=load_policy())
    monkeypatch.setattr(process, "farm", lambda: farm)

    def away(queue: str) -> None:
        raise ConnectionError(f"no broker for {queue}")

    monkeypatch.setattr(regular.dispatch_batches, "apply_async", away)
    add_claims(database, 2)
    regular.plan_claims()
    with database.reading() as session:
        assert set(session.scalars(select(Claim.state))) == {ClaimState.PLANNED}
