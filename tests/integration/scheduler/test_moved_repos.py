"""Repos that the Hub answers for under another id than they are asked for by: renamed, handed over, in other case."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import select

from deploy.localhub import names
from deploy.localhub.names import RepoName
from scheduler.database.tables import Benchmark, Marker
from scheduler.database.tables.marker import BENCHMARKS_LISTED
from scheduler.hub.answers import BenchmarkHead
from scheduler.hub.hub_errors import Missing, Moved
from scheduler.planning.planning_facts import IDS_LOOKED_UP
from scheduler.state_machine import ClaimState
from scheduler.watch import announced_repos
from specs.errors import HubAway
from specs.policy.watch import WatchRules
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, empty_farm

BENCHMARK = "acme/capitals"
MODEL = "tiny/model"
RENAMED = "big/renamed"

databases = mostly_sqlite
farm = empty_farm


@pytest.fixture
def model(farm: ControlPlane, model: RepoName) -> RepoName:
    """The farm has found it."""
    farm.scan()
    return model


def states(farm: ControlPlane) -> list[tuple[str, ClaimState]]:
    return [(claim.model_id, ClaimState(claim.state)) for claim in farm.claims()]


def test_claims_go_with_a_model_that_is_renamed(farm: ControlPlane, model: RepoName) -> None:
    farm.served.local.move_repo(model, names.model(RENAMED))
    farm.scan()
    farm.scan()
    assert states(farm) == [(MODEL, ClaimState.WITHDRAWN), (RENAMED, ClaimState.SUBMITTED)]
    assert farm.reasons(farm.claims()[0].claim_id)[-1] == f"the model repo is {RENAMED} on the Hub"


def test_a_rename_that_the_hub_announces_is_followed(farm: ControlPlane, model: RepoName) -> None:
    farm.served.local.move_repo(model, names.model(RENAMED))
    announced_repos.look(farm.database, farm.hub, "model", MODEL)
    assert states(farm) == [(MODEL, ClaimState.WITHDRAWN)]
    farm.scan(WatchRules(benchmarks=()))
    assert states(farm) == [(MODEL, ClaimState.WITHDRAWN), (RENAMED, ClaimState.SUBMITTED)]


def test_an_id_in_other_case_is_no_other_model(farm: ControlPlane, model: RepoName) -> None:
    farm.scan(WatchRules(models=("Tiny/Model",)))
    assert states(farm) == [(MODEL, ClaimState.SUBMITTED)]


def test_a_benchmark_of_the_allow_list_is_watched_under_the_id_that_it_has(farm: ControlPlane) -> None:
    moved = add_benchmark(farm.served.local, BENCHMARK)
    farm.served.local.move_repo(moved, names.dataset(RENAMED))
    submit(farm.served.local, add_model(farm.served.local, MODEL), entry(RENAMED, 79.5))
    farm.scan(WatchRules(benchmarks=(BENCHMARK,)))
    assert states(farm) == [(MODEL, ClaimState.SUBMITTED)]
    with farm.database.reading() as session:
        assert session.get(Benchmark, BENCHMARK) is None
        assert session.get(Benchmark, RENAMED) is not None


@ON_BOTH
@pytest.mark.parametrize(("named", "watched_before"), [(BENCHMARK, False), (BENCHMARK, True), (RENAMED.upper(), False)])
def test_while_the_hub_does_not_say_which_one_is_meant_none_is_taken_off_and_none_is_entered(
    farm: ControlPlane, named: str, monkeypatch: pytest.MonkeyPatch, *, watched_before: bool
) -> None:
    def away_for_one(dataset_id: str) -> BenchmarkHead:
        if dataset_id == named:
            raise HubAway("the Hub answered 503")
        return ask(dataset_id)

    def rows() -> dict[str, bool]:
        with farm.database.reading() as session:
            return {row.dataset_id: row.unlisted_at is None for row in session.scalars(select(Benchmark))}

    def listed_at() -> datetime:
        with farm.database.reading() as session:
            return session.get_one(Marker, BENCHMARKS_LISTED).at

    hub, ask = farm.served.local, farm.hub.benchmark
    moved = add_benchmark(hub, BENCHMARK)
    add_benchmark(hub, "acme/other")
    watch = WatchRules(benchmarks=(named, "acme/other"))
    if watched_before:
        farm.scan(watch)
    hub.move_repo(moved, names.dataset(RENAMED))
    farm.scan(watch)
    before, since = rows(), listed_at()
    assert before == {RENAMED: True, "acme/other": True} | ({BENCHMARK: False} if watched_before else {})
    with monkeypatch.context() as patched:
        patched.setattr(farm.hub, "benchmark", away_for_one)
        for _ in range(2):
            farm.scan(watch)
    assert rows() == before
    assert farm.history(RENAMED) == ["revision"]
    # In other case, it is known all the same.
    assert (listed_at() == since) == (named == BENCHMARK), "nor is a claim refused by such a list"
    farm.scan(WatchRules(benchmarks=("acme/other",)))
    assert rows()[RENAMED] is False


@pytest.mark.parametrize("written", [BENCHMARK, RENAMED.upper()])
def test_who_claims_something_on_a_benchmark_by_another_id_is_told_the_one_to_write(
    farm: ControlPlane, written: str
) -> None:
    farm.served.local.move_repo(add_benchmark(farm.served.local, BENCHMARK), names.dataset(RENAMED))
    submit(farm.served.local, add_model(farm.served.local, MODEL), entry(written, 79.5))
    for _ in range(2):
        farm.scan(WatchRules(models=(MODEL,)))
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.DECIDED
    assert claim.reason.startswith(f"unsupported: {written} is {RENAMED} on the Hub: the claim's author must write")


@ON_BOTH
def test_the_hub_is_asked_for_few_ids_in_a_round(farm: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def benchmark(dataset_id: str) -> None:
        asked.append(dataset_id)
        raise Missing(f"{dataset_id}: not on the Hub")

    monkeypatch.setattr(farm.hub, "benchmark", benchmark)
    text = "".join(entry(f"nobody/b{n}", 50) for n in range(IDS_LOOKED_UP + 5))
    submit(farm.served.local, add_model(farm.served.local, MODEL), text)
    for _ in range(2):
        farm.scan(WatchRules(models=(MODEL,)))
    farm.plan()
    assert {claim.state for claim in farm.claims()} == {ClaimState.DECIDED}
    assert len(asked) == IDS_LOOKED_UP


def test_whoever_asks_for_one_is_told_its_id(farm: ControlPlane, model: RepoName) -> None:
    farm.served.local.move_repo(model, names.model(RENAMED))
    with pytest.raises(Moved, match=f"{MODEL} is {RENAMED} on the Hub") as caught:
        farm.hub.model(MODEL)
    assert caught.value.now_at == RENAMED
