"""Claims that appear are planned and sent out without waiting for the clock."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import or_, select, update

from deploy.bench.load_rows import add_claims, load_policy
from scheduler.control_worker import process, regular
from scheduler.database.session import Database
from scheduler.database.tables import Claim, now
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


@pytest.mark.parametrize("held", [False, True])
def test_what_is_blocked_has_its_turn_by_priority_only_where_a_days_budget_held_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    for bound in ("PLANNED_AT_ONCE", "TOGETHER"):
        monkeypatch.setattr(planning, bound, 4)
    add_claims(database, 20)
    is_community = Claim.pull_request.is_not(None)
    # A key is kept of claims that a judge refused, say, too.
    blocked = {"state": ClaimState.BLOCKED, "reason": "waits for its judge", "run_key": "f" * 64}
    over = {"reason": "over the day's budget of the farm: 9 of 10 GPU-seconds are planned or spent today"}
    with database.transaction() as session:
        session.execute(update(Claim).values(**blocked, recheck_at=now() - timedelta(minutes=1)))
        waits_longest = {"recheck_at": now() - timedelta(hours=1)}
        session.execute(update(Claim).where(is_community).values(**waits_longest))
        if held:
            few = ~Claim.pull_request.in_((1, 2))
            session.execute(update(Claim).where(or_(~is_community, few)).values(**over, **waits_longest))
    planned = []
    for _ in range(2):
        planning.plan(database, Hub("http://127.0.0.1:9", None, 5), load_policy())
        with database.reading() as session:
            done = select(Claim.pull_request).where(Claim.state == ClaimState.PLANNED)
            planned.append(sorted(number or 0 for number in session.scalars(done)))
    if held:
        # Three of four are the authors', of whom eight were held; one is of the others.
        assert [sum(number > 0 for number in each) for each in planned] == [1, 2]
        assert planned[1][-2:] == [1, 2]
    else:
        assert [len(each) for each in planned] == [4, 8]
        assert all(planned[1]), "whoever waits longest, an author or not"
