"""Many claims at once: all are planned in order of priority, in slices, and cost an operator only what policy allows.

Claims are rows, with a spec that is known, so that planning asks nothing of a Hub: what is tested is the farm. With
real processes, and ten thousand of them, it is `make bench-load`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, update

from deploy.bench.load_rows import add_claims, load_policy
from scheduler.database.session import Database
from scheduler.database.tables import Claim, OutboxRow, Reproduction, now
from scheduler.dispatch.assignment import COMMON_AHEAD
from scheduler.dispatch.dispatcher import dispatch
from scheduler.hub.hub import Hub
from scheduler.messaging import outbox
from scheduler.planning import planning
from scheduler.planning.planning import PLANNED_AT_ONCE, plan
from scheduler.reaping import unneeded
from scheduler.reaping.overdue import REAPED_AT_ONCE
from scheduler.reaping.reaper import reap
from scheduler.state_machine import ClaimState, ReproductionState
from specs.policy.budget import BudgetLimits, BudgetRules
from tests.support.databases import Databases
from tests.support.queues import EMPTY_QUEUES
from tests.support.scheduler import migrated_database

HUGE_BYTES = 810_000_000_000
"""400 billion parameters in bfloat16, and then some."""

# Nothing listens there.
HUB = Hub("http://127.0.0.1:9", None, request_seconds=5)


@pytest.fixture
def database(tmp_path: Path, databases: Databases) -> Iterator[Database]:
    found = migrated_database(tmp_path, databases)
    yield found
    found.engine.dispose()


def states(database: Database, table: type[Claim] | type[Reproduction]) -> dict[str, int]:
    with database.reading() as session:
        return {
            str(state): number
            for state, number in session.execute(select(table.state, func.count()).group_by(table.state))
        }


def test_authors_come_before_the_community_though_that_was_first_and_a_round_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PLANNED_AT_ONCE", 20)
    add_claims(database, 50)
    policy = load_policy()
    assert plan(database, HUB, policy) == 20
    with database.reading() as session:
        planned = session.scalars(select(Claim.pull_request).where(Claim.state == ClaimState.PLANNED)).all()
    assert len(planned) == 20
    assert set(planned) == {None}
    assert [plan(database, HUB, policy) for _ in range(3)] == [20, 10, 0]
    assert states(database, Claim) == {"planned": 50}
    assert states(database, Reproduction) == {"queued": 50}


def test_thousands_of_pull_requests_for_a_huge_model_cost_nothing_but_rows(database: Database) -> None:
    add_claims(database, 100, community_part=1.0, weights_bytes=HUGE_BYTES)
    policy = load_policy(budget=BudgetRules(community=BudgetLimits(approval_gpu_seconds=60.0)))
    while plan(database, HUB, policy):
        pass
    assert states(database, Claim) == {"blocked": 100}
    assert states(database, Reproduction) == {}
    # And while they wait, no round looks at them.
    assert plan(database, HUB, policy) == 0


def test_what_waits_goes_out_by_priority_and_the_broker_holds_little_of_it(database: Database) -> None:
    add_claims(database, 60)
    policy = load_policy()
    plan(database, HUB, policy)
    # A maintainer's request, an author's claim, the community's, a periodic re-verification; the last came first.
    with database.transaction() as session:
        for row in session.scalars(select(Reproduction)):
            row.priority = (40, 30, 20, 10)[int(row.model_id.rpartition("model")[2]) % 4]
    unsent = select(func.count()).select_from(OutboxRow).where(OutboxRow.sent_at.is_(None))
    out = select(Reproduction).where(Reproduction.state == ReproductionState.DISPATCHED)
    sent: list[int] = []
    while dispatch(database, policy):
        with database.reading() as session:
            assert (session.scalar(unsent) or 0) <= COMMON_AHEAD
        # A broker takes them, and workers at once.
        outbox.relay(database, lambda **_: None)
        with database.transaction() as session:
            for row in session.scalars(out.order_by(Reproduction.priority)):
                sent.append(row.priority)
                row.state = ReproductionState.RUNNING
    assert len(sent) == 60
    assert sent == sorted(sent)


def test_what_nobody_needs_any_more_is_cancelled_in_slices(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unneeded, "REAPED_AT_ONCE", 15)
    add_claims(database, 40)
    policy = load_policy()
    plan(database, HUB, policy)
    with database.transaction() as session:
        session.execute(update(Claim).where(Claim.claim_id != f"{7:032x}").values(state=ClaimState.WITHDRAWN))
    assert [reap(database, policy, *EMPTY_QUEUES) for _ in range(4)] == [15, 15, 9, 0]
    assert states(database, Reproduction) == {"queued": 1, "cancelled": 39}


def test_claims_for_which_the_hub_does_not_answer_let_others_pass_and_say_so(database: Database) -> None:
    add_claims(database, 20)
    policy = load_policy()
    with database.transaction() as session:
        # Pinned to a branch, which only the Hub could look up.
        session.execute(update(Claim).where(Claim.pull_request.is_(None)).values(dataset_revision="a-branch"))
    rounds = 0
    while plan(database, HUB, policy):
        rounds += 1
    assert rounds == 3, "three that wait end a round; 8 wait in all"
    assert states(database, Claim) == {"submitted": 8, "planned": 12}
    with database.reading() as session:
        waiting = session.scalars(select(Claim).where(Claim.state == ClaimState.SUBMITTED)).all()
    assert all(claim.reason.startswith("waits for the Hub, which does not answer") for claim in waiting)
    with database.transaction() as session:
        session.execute(
            update(Claim).values(recheck_at=None, since=now() - timedelta(seconds=policy.run.queue_seconds + 1))
        )
    plan(database, HUB, policy)
    with database.reading() as session:
        late = session.scalars(select(Claim.reason).where(Claim.state == ClaimState.DECIDED)).all()
    assert len(late) == 3
    assert all(
        reason.startswith("failed: it could not be planned within 86400 s; it waited for the Hub") for reason in late
    )


def test_the_bounds_are_bounds() -> None:
    assert PLANNED_AT_ONCE <= 1000
    assert REAPED_AT_ONCE <= 1000


def test_the_reaper_does_not_look_at_all_planned_claims_for_each_reproduction(tmp_path: Path) -> None:
    # On SQLite, whose planner takes the first index that fits; ten thousand claims then kept it busy for ever.
    database = Database(f"sqlite:///{tmp_path / 'farm.db'}")
    database.upgrade()
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *called: asked.append(called[2]))
    reap(database, load_policy(), *EMPTY_QUEUES)
    (query,) = [each for each in asked if "NOT (EXISTS" in each]
    with database.reading() as session:
        raw = session.connection().connection.cursor()
        raw.execute(f"EXPLAIN QUERY PLAN {query}", [""] * query.count("?"))
        plan_of_it = " ".join(str(row[-1]) for row in raw.fetchall())
    assert "claim_by_reproduction (reproduction_id=? AND state=?)" in plan_of_it
