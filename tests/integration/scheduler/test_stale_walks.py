"""What is stale is found by what changed: not one verdict too few is looked at, and not many too many."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from scheduler.database.session import Database
from scheduler.database.tables import Badge, Benchmark, Claim, Model, Reproduction, StaleWalk, VerdictRow, now
from scheduler.state_machine import ClaimState, ReproductionState
from scheduler.watch import stale_walks, staleness
from scheduler.watch.staleness import mark_stale
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import Policy
from specs.policy.verification import VerificationRules

POLICY = Policy()
A_MONTH = Policy(reverify=ReverifyRules(after_days=30))


@pytest.fixture
def database(database: Database) -> Database:
    with database.transaction() as session:
        session.add_all(Model(model_id=model, revision="r", weights_sha256="w") for model in ("m/0", "m/1"))
        session.add(Benchmark(dataset_id="b/0", revision="d"))
    return database


def decide(database: Database, count: int, *, model: str = "m/0", at: datetime | None = None) -> list[str]:
    """So many claims with a verdict and a badge, on what the Hub held when all began."""
    at = at or now() - timedelta(days=1)
    ids = []
    with database.transaction() as session:
        for _ in range(count):
            run = Reproduction(
                key="k", model_id=model, model_revision="r", weights_sha256="w", weights_bytes=1, dataset_id="b/0",
                dataset_revision="d", spec_sha256="s", settings={}, pool="large", priority=1, joinable=False,
                state=ReproductionState.COMPLETED,
            )  # fmt: skip
            session.add(run)
            session.flush()
            claim = Claim(
                slot=run.reproduction_id, model_id=model, ref="main", path="p", entry=0, commit="c", dataset_id="b/0",
                value=1.0, state=ClaimState.DECIDED, since=at, created_at=at, reproduction_id=run.reproduction_id,
            )  # fmt: skip
            session.add(claim)
            session.flush()
            ids.append(claim.claim_id)
            session.add(
                VerdictRow(
                    claim_id=claim.claim_id, outcome="verified", verdict={}, reproduction_id=run.reproduction_id,
                    decided_at=at,
                )
            )  # fmt: skip
            session.flush()
            session.add(Badge(claim_id=claim.claim_id, badge_id=claim.claim_id, token="t", key_id="k", signed_at=at))
    return ids


def replace_weights(database: Database, model: str = "m/0", weights: str = "others") -> None:
    """As a look at the model does."""
    with database.transaction() as session:
        session.get_one(Model, model).weights_sha256 = weights
        stale_walks.begin(session, "model", model)


def stale(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.scalars(select(Claim.claim_id).where(Claim.stale_reason.is_not(None))))


def until_all_is_seen(database: Database, policy: Policy = POLICY) -> None:
    """Let the walk over all claims come to its end once, and be of no help from then on."""
    while True:
        mark_stale(database, policy)
        with database.transaction() as session:
            if session.scalars(select(StaleWalk.passes).where(StaleWalk.subject == stale_walks.ALL)).one():
                break
    without_the_sweep(database)


def without_the_sweep(database: Database) -> None:
    with database.transaction() as session:
        far = now() + timedelta(days=1)
        session.execute(update(StaleWalk).where(StaleWalk.subject == stale_walks.ALL).values(reached_at=far))


def test_new_weights_are_seen_by_their_own_claims_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, _others = decide(database, 3), decide(database, 40, model="m/1")
    until_all_is_seen(database)
    looked_at: list[object] = []
    facts = staleness._facts

    def noted(session: Session, policy: Policy, condition: ColumnElement[bool]) -> list[staleness._Found]:
        looked_at.append(condition)
        return facts(session, policy, condition)

    monkeypatch.setattr(staleness, "_facts", noted)
    replace_weights(database)
    assert mark_stale(database, POLICY) == 3
    assert stale(database) == set(mine)
    assert len(looked_at) == 1, "one page, and no other claim is due"
    with database.reading() as session:
        left = session.scalars(select(StaleWalk.subject)).all()
    assert sorted(left) == sorted(stale_walks.LASTING)


def test_a_benchmark_that_moves_is_walked_page_by_page_over_several_rounds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(database, 30)
    until_all_is_seen(database)
    monkeypatch.setattr(stale_walks, "PAGE", 7)
    monkeypatch.setattr(staleness, "CHANGES_AT_ONCE", 10)
    with database.transaction() as session:
        session.get_one(Benchmark, "b/0").revision = "later"
        stale_walks.begin(session, "benchmark", "b/0")
    found: list[int] = []
    while not found or found[-1]:
        found.append(mark_stale(database, POLICY))
        without_the_sweep(database)
    assert found == [14, 14, 2, 0]
    assert len(stale(database)) == 30


def test_a_walk_that_is_under_way_begins_anew_where_the_thing_changes_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = decide(database, 12)
    until_all_is_seen(database)
    monkeypatch.setattr(stale_walks, "PAGE", 4)
    monkeypatch.setattr(staleness, "CHANGES_AT_ONCE", 4)
    replace_weights(database)
    assert mark_stale(database, POLICY) == 4
    replace_weights(database, weights="w")
    without_the_sweep(database)
    assert mark_stale(database, POLICY) == 4, "those that were stale are current again"
    monkeypatch.undo()
    replace_weights(database, weights="others")
    mark_stale(database, POLICY)
    assert stale(database) == set(mine)


def test_one_long_walk_keeps_no_other_waiting(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(database, 30)
    (other,) = decide(database, 1, model="m/1")
    until_all_is_seen(database)
    monkeypatch.setattr(stale_walks, "PAGE", 5)
    monkeypatch.setattr(staleness, "CHANGES_AT_ONCE", 6)
    replace_weights(database)
    replace_weights(database, "m/1")
    assert mark_stale(database, POLICY) == 6
    assert other in stale(database)


def test_a_verdict_on_weights_that_were_replaced_while_it_ran_is_stale_at_once(database: Database) -> None:
    decide(database, 2)
    until_all_is_seen(database)
    replace_weights(database)
    mark_stale(database, POLICY)
    without_the_sweep(database)
    (late,) = decide(database, 1, at=now() - timedelta(seconds=1))
    assert mark_stale(database, POLICY) == 1
    assert late in stale(database)


def test_a_verdict_whose_transaction_was_slow_to_commit_is_found(database: Database) -> None:
    until_all_is_seen(database)
    replace_weights(database)
    mark_stale(database, POLICY)
    mark_stale(database, POLICY)
    without_the_sweep(database)
    (late,) = decide(database, 1, at=now() - stale_walks.LATE / 2)
    mark_stale(database, POLICY)
    assert stale(database) == {late}


def test_badges_come_of_age_one_after_the_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = now()
    (older,) = decide(database, 1, at=begun - timedelta(days=29))
    (newer,) = decide(database, 1, at=begun - timedelta(days=28))
    until_all_is_seen(database, A_MONTH)
    found = []
    for days in (0.5, 1.5, 1.6, 2.5):
        monkeypatch.setattr(staleness, "now", lambda days=days: begun + timedelta(days=days))
        mark_stale(database, A_MONTH)
        with database.transaction() as session:
            far = begun + timedelta(days=99)
            session.execute(update(StaleWalk).where(StaleWalk.subject == stale_walks.ALL).values(reached_at=far))
        found.append(stale(database))
    assert found == [set(), {older}, {older}, {older, newer}]


def test_new_rules_look_at_every_claim_once_and_badges_come_of_age_by_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = now()
    (older,) = decide(database, 1, at=begun - timedelta(days=40))
    (newer,) = decide(database, 1, at=begun - timedelta(days=28))
    until_all_is_seen(database, Policy(reverify=ReverifyRules(after_days=10)))
    assert stale(database) == {older, newer}
    until_all_is_seen(database, A_MONTH)
    assert stale(database) == {older}, "the other one is young by the new rules"
    monkeypatch.setattr(staleness, "now", lambda: begun + timedelta(days=3))
    mark_stale(database, A_MONTH)
    assert stale(database) == {older, newer}


@pytest.mark.parametrize(
    "said",
    [
        {"verification": {"scale": "percent"}},
        {"benchmarks": {"b/0": {"scale": "percent"}}},
        {"benchmarks": {"b/0": {"tasks": {"t": {"scale": "percent"}}}}},
    ],
)
def test_a_policy_with_other_scales_looks_at_every_claim_once(database: Database, said: dict[str, Any]) -> None:
    def is_through(policy: Policy) -> bool:
        (of_all,) = (row for row in stale_walks.under_way(database, policy, now()) if row.subject == stale_walks.ALL)
        return of_all.passes > 0

    until_all_is_seen(database)
    assert is_through(Policy(verification=VerificationRules(mode="full")))
    assert not is_through(Policy.model_validate(said))


def test_what_nothing_told_of_is_found_by_the_sweep_a_page_a_round(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(database, 9)
    until_all_is_seen(database)
    with database.transaction() as session:
        # As where somebody restores a table by hand.
        session.execute(update(Model).values(weights_sha256="others"))
        session.execute(update(StaleWalk).values(reached_at=None, reached_id=""))
        session.execute(update(StaleWalk).where(StaleWalk.subject != stale_walks.ALL).values(reached_at=now()))
    monkeypatch.setattr(staleness, "SWEPT_AT_ONCE", 4)
    assert [mark_stale(database, POLICY) for _ in range(4)] == [4, 4, 1, 0]


def test_a_claim_that_somebody_holds_is_waited_for_and_not_passed_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = decide(database, 3)
    until_all_is_seen(database)
    replace_weights(database)
    enter_some = staleness._enter_some

    def as_if_one_were_held(*asked: object, skip_locked: bool) -> set[str]:
        claim_ids = [each for each in asked[1] if not skip_locked or each != mine[0]]  # type: ignore[attr-defined]
        return enter_some(database, claim_ids, asked[2], skip_locked=skip_locked)  # type: ignore[arg-type]

    monkeypatch.setattr(staleness, "_enter_some", as_if_one_were_held)
    assert mark_stale(database, POLICY) == 3
    assert stale(database) == set(mine)
