"""Budgets: who may have how much planned on a day, and what waits for an operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy import inspect as sqlalchemy_inspect

from scheduler.admission.priorities import PERIODIC_PRIORITY, REQUESTED_PRIORITY
from scheduler.collect.ending import end_attempt
from scheduler.database.tables import Claim, Event, Model, Reproduction, Table, new_id, now
from scheduler.record import move_reproduction
from scheduler.requests.approving import approve
from scheduler.requests.intervening import cancel
from scheduler.state_machine import ClaimState, ReproductionState
from specs.errors import InterventionError
from specs.messages import AttemptOutcome
from specs.policy.budget import BudgetLimits, BudgetRules
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from tests.support.databases import Databases, at_once
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.rows import Rows, measurement
from tests.support.scheduler import ControlPlane, control_plane

BENCHMARK = "acme/capitals"
CARD = "dataset_info:\n  splits:\n  - {name: test, num_bytes: 900000, num_examples: 12000}\n"
LARGE = 800 * 10**9
"""Bytes of a model of 400B parameters."""

POOLS = (PoolRules(name="cpu", device="cpu", gpus=0, memory_gib=80), PoolRules(name="gpu", gpus=16, memory_gib=80))


@pytest.fixture
def farm(tmp_path: Path, databases: Databases) -> Iterator[ControlPlane]:
    with control_plane(tmp_path, databases) as plane:
        add_benchmark(plane.served.local, BENCHMARK)
        yield plane


def budget(farm: ControlPlane, rules: BudgetRules) -> None:
    farm.policy = Policy(pools=POOLS, budget=rules)


def claim_on(farm: ControlPlane, model_id: str, author: str | None = None) -> None:
    """A claim of the model's author, or of somebody else on a pull request, for a model of its own."""
    model = add_model(farm.served.local, model_id)
    submit(farm.served.local, model, entry(BENCHMARK, 50), author=author, create_pr=author is not None)


def states(farm: ControlPlane) -> Counter[str]:
    return Counter(str(claim.state) for claim in farm.claims())


def cost_of_one(farm: ControlPlane) -> float:
    """What a reproduction of the tiny model is taken to cost."""
    claim_on(farm, "probe/model")
    farm.scan()
    farm.plan()
    (claim,) = farm.claims()
    with farm.database.transaction() as session:
        # Planned yesterday, so that today's budget is whole.
        session.execute(update(Reproduction).values(created_at=now() - timedelta(days=1)))
    assert claim.gpu_seconds is not None
    return claim.gpu_seconds


def approvable(farm: ControlPlane, cost: float, per_day: float | None = None) -> Claim:
    """A claim that costs twice what needs no approval, after a round of planning."""
    budget(farm, BudgetRules(approval_gpu_seconds=cost / 2, gpu_seconds_per_day=per_day))
    claim_on(farm, "a/one")
    farm.scan()
    farm.plan()
    (claim,) = other_claims(farm)
    return claim


def other_claims(farm: ControlPlane) -> list[Claim]:
    return [claim for claim in farm.claims() if claim.model_id != "probe/model"]


def a_day_later(farm: ControlPlane) -> None:
    """All that is planned was planned yesterday, and what waited for midnight has waited."""
    with farm.database.transaction() as session:
        session.execute(update(Reproduction).values(created_at=Reproduction.created_at))
        for run in session.scalars(select(Reproduction)):
            run.created_at -= timedelta(days=1)
        session.execute(update(Claim).where(Claim.recheck_at.is_not(None)).values(recheck_at=now()))


@pytest.mark.parametrize(
    ("rules", "models", "words"),
    [
        ("gpu_seconds_per_day", ("a/one", "b/two"), "the farm"),
        ("gpu_seconds_per_submitter", ("a/one", "b/two"), "submitter fan"),
        ("gpu_seconds_per_namespace", ("a/one", "a/two"), "namespace a"),
    ],
)
def test_a_claim_beyond_a_limit_waits_for_the_next_day(
    farm: ControlPlane, rules: str, models: tuple[str, str], words: str
) -> None:
    limit = 1.5 * cost_of_one(farm)
    budget(farm, BudgetRules.model_validate({rules: limit}))
    for model_id in models:
        claim_on(farm, model_id, "fan")
    farm.scan()
    farm.plan()
    first, second = sorted(other_claims(farm), key=lambda claim: claim.state, reverse=True)
    assert (first.state, second.state) == (ClaimState.PLANNED, ClaimState.BLOCKED)
    assert second.reason.startswith(f"over the day's budget of {words}: ")
    assert "looked at again at 00:00 UTC" in second.reason
    midnight = second.recheck_at
    assert midnight is not None
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
    assert timedelta(0) < midnight - now() <= timedelta(days=1)
    farm.plan()
    assert states(farm)["blocked"] == 1
    a_day_later(farm)
    farm.plan()
    assert states(farm) == {"planned": 3}


def test_what_was_held_back_has_its_turn_by_priority(farm: ControlPlane) -> None:
    cost = cost_of_one(farm)
    budget(farm, BudgetRules(gpu_seconds_per_day=cost / 2))
    asked = {"periodic": PERIODIC_PRIORITY, "community": None, "author": None, "requested": REQUESTED_PRIORITY}
    for name in asked:
        claim_on(farm, f"{name}/model", "fan" if name == "community" else None)
        farm.scan()
    with farm.database.transaction() as session:
        for claim in session.scalars(select(Claim)):
            claim.asked_priority = asked.get(claim.model_id.partition("/")[0])
    farm.plan()
    budget(farm, BudgetRules(gpu_seconds_per_day=1.5 * cost))
    planned: list[str] = []
    for _ in range(3):
        a_day_later(farm)
        farm.plan()
        new = {claim.model_id for claim in other_claims(farm) if claim.state == ClaimState.PLANNED} - set(planned)
        planned.extend(sorted(new))
    assert planned == ["requested/model", "author/model", "community/model"]


def test_who_has_spent_nothing_has_room_beside_who_has(farm: ControlPlane) -> None:
    budget(farm, BudgetRules(gpu_seconds_per_submitter=1.5 * cost_of_one(farm)))
    claim_on(farm, "a/one", "fan")
    claim_on(farm, "b/two", "fan")
    claim_on(farm, "c/three", "other")
    farm.scan()
    farm.plan()
    by_submitter = Counter((claim.submitter, str(claim.state)) for claim in other_claims(farm))
    assert by_submitter == {("fan", "planned"): 1, ("fan", "blocked"): 1, ("other", "planned"): 1}


def test_what_authors_cause_leaves_the_communitys_budget_whole(farm: ControlPlane) -> None:
    limit = 1.5 * cost_of_one(farm)
    budget(farm, BudgetRules(community=BudgetLimits(gpu_seconds_per_day=limit)))
    for n in range(3):
        claim_on(farm, f"author{n}/model")
    for n in range(2):
        claim_on(farm, f"namespace{n}/model", f"fan{n}")
    farm.scan()
    farm.plan()
    kinds = Counter((claim.pull_request is not None, str(claim.state)) for claim in other_claims(farm))
    assert kinds == {(False, "planned"): 3, (True, "planned"): 1, (True, "blocked"): 1}
    assert any("community claims" in claim.reason for claim in farm.claims() if claim.state == ClaimState.BLOCKED)


def test_a_claim_that_joins_a_run_costs_nothing(farm: ControlPlane) -> None:
    budget(farm, BudgetRules(gpu_seconds_per_day=1.5 * cost_of_one(farm)))
    model = add_model(farm.served.local, "a/one")
    for n in range(3):
        submit(farm.served.local, model, entry(BENCHMARK, 50 + n), author="fan", create_pr=True, name=f"n{n}.yaml")
    farm.scan()
    farm.plan()
    claims = other_claims(farm)
    assert [claim.state for claim in claims] == [ClaimState.PLANNED] * 3
    with farm.database.reading() as session:
        run = session.get_one(Reproduction, claims[0].reproduction_id)
    assert (run.submitter, run.community, run.gpu_seconds) == ("fan", True, claims[0].gpu_seconds)
    assert run.caused_by in {claim.claim_id for claim in claims}


@pytest.mark.parametrize("limits", ["none", "approval", "day", "another day"])
def test_claims_that_have_a_run_ask_every_sample_are_held_to_what_that_costs(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch, limits: str
) -> None:
    for module in ("judging.stopping", "planning.joinable_runs"):
        monkeypatch.setattr(f"scheduler.{module}.MOST_CLAIMS", 3)
    add_benchmark(farm.served.local, "acme/sized", card=CARD)
    model = add_model(farm.served.local, "a/one")
    for n in range(3):
        submit(farm.served.local, model, entry("acme/sized", 50 + n), author="fan", create_pr=True, name=f"n{n}.yaml")
    farm.scan()
    with farm.database.transaction() as session:
        session.get_one(Model, "a/one").weights_bytes = LARGE
    farm.plan()
    (run,) = farm.reproductions()
    cheap, first_by = run.gpu_seconds, run.caused_by
    assert cheap is not None
    rules = {
        "none": BudgetRules(),
        "approval": BudgetRules(community=BudgetLimits(approval_gpu_seconds=1.01 * cheap)),
        "day": BudgetRules(community=BudgetLimits(gpu_seconds_per_day=1.01 * cheap)),
        "another day": BudgetRules(gpu_seconds_per_day=100 * cheap),
    }
    budget(farm, rules[limits])
    if limits == "another day":
        a_day_later(farm)
    submit(farm.served.local, model, entry("acme/sized", 60), author="eve", create_pr=True, name="more.yaml")
    farm.scan()
    farm.plan()
    last = next(claim for claim in farm.claims() if claim.submitter == "eve")
    (run,) = farm.reproductions()
    if limits != "none":
        assert (last.state, run.gpu_seconds, run.caused_by) == (ClaimState.BLOCKED, cheap, first_by)
        approve(farm.database, last.claim_id, "operator:ann", over_budget=True)
        farm.plan()
        (run,) = farm.reproductions()
    assert states(farm) == {"planned": 4}
    assert run.gpu_seconds is not None
    assert run.gpu_seconds > 1.01 * cheap
    assert (run.caused_by, run.submitter, run.community) == (last.claim_id, "eve", True)
    # Those that come after it are free.
    submit(farm.served.local, model, entry("acme/sized", 70), author="fan", create_pr=True, name="yet.yaml")
    farm.scan()
    farm.plan()
    assert states(farm) == {"planned": 5}
    assert farm.reproductions()[0].caused_by == last.claim_id


def test_a_claim_that_was_cancelled_while_it_was_held_back_joins_no_run(farm: ControlPlane) -> None:
    budget(farm, BudgetRules(gpu_seconds_per_day=cost_of_one(farm) / 2))
    model = add_model(farm.served.local, "a/one")
    submit(farm.served.local, model, entry(BENCHMARK, 50))
    farm.scan()
    farm.plan()
    (held,) = other_claims(farm)
    assert held.state == ClaimState.BLOCKED
    cancel(farm.database, held.claim_id, "it asks for too much", "operator:ann")
    budget(farm, BudgetRules())
    submit(farm.served.local, model, entry(BENCHMARK, 51), author="fan", create_pr=True)
    farm.scan()
    for _ in range(2):
        farm.plan()
    assert {claim.value: claim.state for claim in other_claims(farm)} == {50: "blocked", 51: "planned"}


def test_several_planners_spend_a_budget_once(farm: ControlPlane) -> None:
    budget(farm, BudgetRules(gpu_seconds_per_day=2.5 * cost_of_one(farm)))
    for n in range(8):
        claim_on(farm, f"namespace{n}/model", f"fan{n}")
    farm.scan()
    at_once(farm.plan)
    farm.plan()
    assert states(farm) == {"planned": 3, "blocked": 6}


def test_a_run_counts_as_what_it_took_once_it_is_complete(farm: ControlPlane) -> None:
    rows = Rows(farm.database)
    done = rows.reproduction(settings={"gpus": 2}, state=ReproductionState.RUNNING, gpu_seconds=9999.0)
    never_sent = rows.reproduction(gpu_seconds=9999.0)
    failed = rows.reproduction(state=ReproductionState.RUNNING, gpu_seconds=9999.0)
    with farm.database.transaction() as session:
        run = session.get_one(Reproduction, done)
        run.measurement = measurement().model_dump(mode="json")
        move_reproduction(session, run, ReproductionState.COMPLETED, "done")
        move_reproduction(session, session.get_one(Reproduction, never_sent), ReproductionState.CANCELLED, "withdrawn")
        move_reproduction(session, session.get_one(Reproduction, failed), ReproductionState.FAILED, "broken")
        spent = {each: session.get_one(Reproduction, each).gpu_seconds for each in (done, never_sent, failed)}
    # Five minutes of asking and the start of the engine, on two GPUs each.
    assert spent == {done: 2 * (300 + 60 + 0.27), never_sent: None, failed: 9999.0}


@pytest.mark.parametrize("end", ["it failed", "it was cancelled"])
def test_a_run_that_ends_without_a_report_counts_as_what_it_held_at_least(farm: ControlPlane, end: str) -> None:
    rows = Rows(farm.database)
    run: dict[str, Any] = {
        "settings": {"gpus": 2},
        "gpu_seconds": 9999.0,
        "state": ReproductionState.RUNNING,
        "attempt": 2,
    }
    begun = {
        hours: {"started_at": now() - timedelta(hours=24), "begun_at": now() - timedelta(hours=hours)}
        for hours in (1, 23)
    }
    short, long, waited = (rows.reproduction(**run) for _ in range(3))
    for name, at in ((short, begun[1]), (long, begun[23]), (waited, {**begun[1], "begun_at": None})):
        # One that was lost before counts until it ended, as its lease did.
        rows.attempt(name, 1, outcome="lost", **begun[23], ended_at=now() - timedelta(hours=22, minutes=30))
        rows.attempt(name, 2, stage="waiting" if name == waited else "running", **at)
        if end == "it was cancelled":
            cancel(farm.database, name, "it takes too long", "operator:ann")
        else:
            with farm.database.transaction() as session:
                reproduction = session.get_one(Reproduction, name)
                end_attempt(session, farm.policy, reproduction, AttemptOutcome.REQUESTS_REFUSED, "no such sampling")
    with farm.database.reading() as session:
        ended = {name: session.get_one(Reproduction, name) for name in (short, long, waited)}
    assert {str(each.state) for each in ended.values()} == {"failed" if end == "it failed" else "cancelled"}
    assert ended[waited].gpu_seconds == 9999.0, "others of its batch held the GPUs"
    for name, hours in ((short, 1.5), (long, 23.5)):
        assert ended[name].gpu_seconds == pytest.approx(2 * (hours * 3600 + 60 + 0.27), abs=20)


def test_above_the_threshold_a_claim_waits_for_an_operator(farm: ControlPlane) -> None:
    cost = cost_of_one(farm)
    claim = approvable(farm, cost)
    assert claim.state == ClaimState.BLOCKED
    assert claim.reason.startswith(f"waits for an operator's approval: about {cost:,.0f} GPU-seconds (")
    assert f"reprofarm approve {claim.claim_id}" in claim.reason
    assert claim.recheck_at is None
    approve(farm.database, claim.claim_id[:8], "operator:ann")
    farm.plan()
    (claim,) = other_claims(farm)
    assert claim.state == ClaimState.PLANNED
    with farm.database.reading() as session:
        assert session.scalars(select(Event.actor).where(Event.what == "approved")).all() == ["operator:ann"]
    with pytest.raises(InterventionError, match="needs no approval: it is planned"):
        approve(farm.database, claim.claim_id, "operator:ann")
    with pytest.raises(InterventionError, match="give at least 6 characters of the claim's id"):
        approve(farm.database, claim.claim_id[:5], "operator:ann")


def test_a_higher_threshold_releases_what_waited(farm: ControlPlane) -> None:
    cost = cost_of_one(farm)
    approvable(farm, cost)
    farm.plan()
    assert states(farm)["blocked"] == 1
    budget(farm, BudgetRules(approval_gpu_seconds=2 * cost))
    farm.plan()
    assert states(farm) == {"planned": 2}


def test_an_approval_lifts_the_limits_of_a_day_only_where_it_says_so(farm: ControlPlane) -> None:
    cost = cost_of_one(farm)
    claim = approvable(farm, cost, per_day=cost / 2)
    approve(farm.database, claim.claim_id, "operator:ann")
    farm.plan()
    (claim,) = other_claims(farm)
    assert claim.reason.startswith("over the day's budget of the farm by itself: ")
    a_day_later(farm)
    farm.plan()
    assert other_claims(farm)[0].reason.startswith("over the day's budget of the farm by itself: ")
    approve(farm.database, claim.claim_id, "operator:ann", over_budget=True)
    farm.plan()
    assert states(farm) == {"planned": 2}


def test_an_approval_does_not_hold_for_what_costs_much_more(farm: ControlPlane) -> None:
    claim = approvable(farm, cost_of_one(farm))
    approve(farm.database, claim.claim_id, "operator:ann")
    with farm.database.transaction() as session:
        session.get_one(Model, "a/one").weights_bytes = LARGE
    farm.plan()
    assert other_claims(farm)[0].reason.startswith("waits for an operator's approval: ")


def huge(farm: ControlPlane, claims: int) -> None:
    """A model of 400B parameters, with so many claims on pull requests of as many users."""
    model = add_model(farm.served.local, "big/model")
    submit(farm.served.local, model, entry(BENCHMARK, 50))
    farm.scan()
    with farm.database.transaction() as session:
        session.get_one(Model, "big/model").weights_bytes = LARGE
        session.execute(delete(Claim))
        for n in range(claims):
            pull = {"ref": f"refs/pr/{n}", "pull_request": n, "submitter": f"fan{n}", "path": "x.yaml", "entry": 0}
            facts = {"dataset_id": BENCHMARK, "task_id": "capitals", "value": 50.0, "commit": "c" * 40}
            session.add(Claim(slot=f"{n:064d}", model_id="big/model", **pull, **facts))


def count(farm: ControlPlane, table: type[Table]) -> int | None:
    with farm.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_community_claims_on_a_huge_model_ask_the_hub_for_nothing_of_it(farm: ControlPlane) -> None:
    budget(farm, BudgetRules(community=BudgetLimits(approval_gpu_seconds=3600)))
    huge(farm, 40)
    del farm.served.requests[:]
    farm.plan()
    assert states(farm) == {"blocked": 40}
    assert count(farm, Reproduction) == 0
    # The spec is read once, for all of them.
    assert len(farm.served.requests) <= 1
    approve(farm.database, farm.claims()[0].claim_id, "operator:ann")
    while farm.plan():
        pass
    # One run was approved, and answers all of them.
    assert states(farm) == {"planned": 40}
    assert count(farm, Reproduction) == 1


@pytest.mark.parametrize(
    "rules",
    [
        BudgetRules(community=BudgetLimits(approval_gpu_seconds=3600)),
        BudgetRules(community=BudgetLimits(gpu_seconds_per_day=3600)),
    ],
    ids=["approval", "day"],
)
def test_ten_thousand_claims_that_are_held_back_are_rows_and_nothing_else(
    farm: ControlPlane, rules: BudgetRules
) -> None:
    budget(farm, rules)
    huge(farm, 1)
    farm.plan()
    (held,) = farm.claims()
    row = {column.key: getattr(held, column.key) for column in sqlalchemy_inspect(Claim).columns}
    others = [{**row, "claim_id": new_id(), "slot": f"{n:064d}", "pull_request": n} for n in range(1, 10_000)]
    with farm.database.transaction() as session:
        session.execute(insert(Claim), others)
    events = count(farm, Event)
    del farm.served.requests[:]
    assert farm.plan() == 0
    assert farm.served.requests == []
    assert (count(farm, Event), count(farm, Reproduction)) == (events, 0)
