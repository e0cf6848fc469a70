"""A Hub, or one repo on it, that cannot be read holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg.errors import DeadlockDetected
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from deploy.localhub import names
from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName
from scheduler.control_worker.regular import scan_hub
from scheduler.database.tables import Benchmark, Claim, Marker, Model, SpecFile, now
from scheduler.database.tables.marker import BENCHMARKS_LISTED, HUB_SCANNED
from scheduler.hub.answers import BenchmarkHead, ModelHead, PullRequestHead, RepoType, TreeFile
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Missing
from scheduler.metrics import collector
from scheduler.planning.planning_facts import UNLISTED_FOR
from scheduler.state_machine import ClaimState
from scheduler.watch import announced_repos
from specs.errors import HubAway, HubBusy, NoAccess
from specs.hub import eval_results
from specs.policy.rules import Policy
from specs.policy.watch import WatchRules
from tests.support.hub_content import EVAL_YAML, add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, empty_farm, empty_farm_on_sqlite

BENCHMARK = "acme/capitals"
MODEL = "tiny/model"

farm = empty_farm_on_sqlite
either = empty_farm
"""On both kinds of databases: a fault in a transaction is not the same on each."""


def states(farm: ControlPlane) -> list[tuple[str, float | None, ClaimState]]:
    return [(claim.ref, claim.value, ClaimState(claim.state)) for claim in farm.claims()]


def test_one_unreadable_benchmark_does_not_stop_the_scan(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, "acme/huge", "# " + "x" * 300_000 + "\n" + EVAL_YAML)
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 79.5))
    farm.scan()
    assert len(farm.claims()) == 1


def test_a_fault_of_ours_over_one_repo_does_not_stop_the_scan(
    either: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = either.served.local
    for name in ("acme/aaa", BENCHMARK):
        add_benchmark(hub, name)
    for name in ("tiny/aaa", MODEL):
        submit(hub, add_model(hub, name), entry(BENCHMARK, 79.5))
    parse, card_of = eval_results.parse, either.hub.dataset_card
    looks = iter(range(10))

    def stumble(text: bytes) -> eval_results.ResultFile:
        if next(looks) == 0:
            raise ValueError("a number of thousands of digits")
        return parse(text)

    def stumble_over_one(dataset_id: str, revision: str) -> object:
        if dataset_id != BENCHMARK:
            raise TypeError("a card of another shape")
        return card_of(dataset_id, revision)

    monkeypatch.setattr(eval_results, "parse", stumble)
    monkeypatch.setattr(either.hub, "dataset_card", stumble_over_one)
    either.scan()
    assert len(either.claims()) == 1
    either.scan(WatchRules(sweep_seconds=0.001))
    assert len(either.claims()) == 2, "what was stumbled over is looked at again"


def test_a_claim_that_is_not_as_it_can_be_does_not_stop_the_scan(either: ControlPlane) -> None:
    hub = either.served.local
    add_benchmark(hub, BENCHMARK)
    gone, there = add_model(hub, "tiny/aaa"), add_model(hub, MODEL)
    submit(hub, gone, entry(BENCHMARK, 79.5))
    either.scan()
    with either.database.transaction() as session:
        session.execute(update(Claim).values(state=ClaimState.WITHDRAWN))
    hub.delete_repo(gone)
    submit(hub, there, entry(BENCHMARK, 80.5))
    either.scan(WatchRules(sweep_seconds=0.001))
    assert [claim.value for claim in either.claims() if claim.model_id == MODEL] == [80.5]


def test_a_benchmark_that_the_hub_fails_over_does_not_stop_the_scan(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = farm.hub.benchmark

    def answer(dataset_id: str) -> BenchmarkHead:
        if dataset_id != BENCHMARK:
            raise HubAway(f"{dataset_id}: 451 Unavailable For Legal Reasons")
        return ask(dataset_id)

    monkeypatch.setattr(farm.hub, "benchmark", answer)
    farm.scan(WatchRules(benchmarks=("acme/taken-down", BENCHMARK)))
    assert states(farm) == [("main", 79.5, ClaimState.SUBMITTED)]
    with pytest.raises(HubAway):
        farm.scan(WatchRules(benchmarks=("acme/taken-down",)))


@pytest.mark.parametrize("in_the_way", ["gated", "away", "not found"])
def test_claims_on_a_benchmark_that_cannot_be_read_at_first_wait_for_it(
    farm: ControlPlane, model: RepoName, in_the_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, benchmark = farm.served.local, names.dataset(BENCHMARK)
    watch = WatchRules(models=(MODEL,))
    with monkeypatch.context() as patched:
        if in_the_way == "gated":
            hub.set_gated(benchmark, "manual")
        elif in_the_way == "away":
            patched.setattr(farm.hub, "dataset_card", raising(HubAway("the Hub answered 503")))
        else:
            watch = WatchRules(models=(MODEL,), benchmarks=(BENCHMARK,))
            patched.setattr(farm.hub, "benchmark", raising(Gone("private, for a while")))
        farm.scan(watch)
        farm.scan(watch)
        farm.plan()
    (claim,) = farm.claims()
    words = "must accept its terms" if in_the_way == "gated" else "could not be read yet"
    assert (claim.state, words in claim.reason) == (ClaimState.BLOCKED, True), claim.reason
    hub.set_gated(benchmark, None)
    farm.scan(watch)
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(recheck_at=now()))
    farm.plan()
    assert farm.claims()[0].state == ClaimState.PLANNED


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("by", ["policy", "the Hub", "its owner"])
def test_a_benchmark_that_is_listed_no_more_is_watched_no_more(farm: ControlPlane, model: RepoName, by: str) -> None:
    hub, benchmark = farm.served.local, names.dataset(BENCHMARK)
    add_benchmark(hub, "acme/other")
    farm.scan()
    watch = WatchRules(models=(MODEL,), benchmarks=("acme/other",) if by == "policy" else "official")
    if by == "the Hub":
        hub.mark_benchmark(benchmark, official=False)
    elif by == "its owner":
        hub.set_private(benchmark, True)
    for _ in range(2):
        farm.scan(watch)
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.BLOCKED
    assert claim.reason.startswith(f"waits for {BENCHMARK} to be listed again")
    farm.served.requests.clear()
    announced_repos.look(farm.database, farm.hub, "dataset", BENCHMARK)
    assert farm.served.requests == [], "announcing it does not make it watched"
    with farm.database.transaction() as session:
        row = session.get_one(Benchmark, BENCHMARK)
        assert row.unlisted_at is not None
        row.unlisted_at -= UNLISTED_FOR
        session.execute(update(Claim).values(recheck_at=now()))
    farm.plan()
    (claim,) = farm.claims()
    assert claim.reason == f"unsupported: {BENCHMARK} is not among the benchmarks that this farm watches"
    assert farm.history(BENCHMARK) == ["revision", "unlisted"]


def test_a_benchmark_that_is_listed_again_is_watched_again(farm: ControlPlane, model: RepoName) -> None:
    hub, benchmark = farm.served.local, names.dataset(BENCHMARK)
    farm.scan()
    hub.mark_benchmark(benchmark, official=False)
    farm.scan()
    hub.mark_benchmark(benchmark)
    farm.scan()
    farm.plan()
    assert farm.claims()[0].state == ClaimState.PLANNED
    assert farm.history(BENCHMARK) == ["revision", "unlisted", "listed"]


def test_a_benchmark_is_given_up_by_no_list_that_is_as_old_as_the_one_which_lacked_it(
    farm: ControlPlane, model: RepoName
) -> None:
    add_benchmark(farm.served.local, "acme/other")
    farm.scan()
    farm.scan(WatchRules(models=(MODEL,), benchmarks=("acme/other",)))
    farm.plan()
    with farm.database.transaction() as session:
        # And then no list was entered for two hours.
        row, listed = session.get_one(Benchmark, BENCHMARK), session.get_one(Marker, BENCHMARKS_LISTED)
        assert row.unlisted_at is not None
        row.unlisted_at -= 2 * UNLISTED_FOR
        listed.at -= 2 * UNLISTED_FOR
        session.execute(update(Claim).values(recheck_at=now()))
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.BLOCKED, claim.reason
    assert claim.reason.startswith(f"waits for {BENCHMARK} to be listed again")
    farm.scan()
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(recheck_at=now()))
    farm.plan()
    assert farm.claims()[0].state == ClaimState.PLANNED


def test_one_of_the_allow_list_that_cannot_be_read_today_stays_watched(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = WatchRules(benchmarks=(BENCHMARK,), models=(MODEL,))
    farm.scan(watch)
    with monkeypatch.context() as patched:
        patched.setattr(farm.hub, "benchmark", raising(Gone("private, for a while")))
        farm.scan(watch)
        farm.plan()
    assert farm.claims()[0].state == ClaimState.PLANNED


def test_a_claim_that_the_hub_announces_before_the_list_has_its_benchmark_waits_for_the_next_list(
    farm: ControlPlane,
) -> None:
    hub = farm.served.local
    add_benchmark(hub, "acme/other")
    farm.scan()
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 79.5))
    announced_repos.look(farm.database, farm.hub, "model", MODEL)
    farm.plan()
    (claim,) = farm.claims()
    assert claim.state == ClaimState.SUBMITTED
    assert claim.reason == f"waits for a list of benchmarks that is newer than the claim: so far {BENCHMARK} is on none"
    assert claim.recheck_at is not None, "others have their turn meanwhile"
    farm.scan()
    with farm.database.transaction() as session:
        session.execute(update(Claim).values(recheck_at=None))
    farm.plan()
    assert farm.claims()[0].state == ClaimState.PLANNED


def test_a_pull_request_that_cannot_be_read_holds_up_nobody(
    farm: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    model = add_model(hub, MODEL)
    submit(hub, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True, name="honest.yaml")
    many = {f"junk/{n}": b"x" for n in range(20)}
    hub.commit(model, many, CommitText("Add junk", "mallory"), create_pr=True)
    monkeypatch.setattr("scheduler.hub.hub.MAX_TREE_FILES", 15)
    farm.scan()
    assert states(farm) == [("refs/pr/1", 99.5, ClaimState.SUBMITTED)]
    submit(hub, model, entry(BENCHMARK, 79.5))
    farm.scan()
    assert states(farm)[1:] == [("main", 79.5, ClaimState.SUBMITTED)]


def test_a_model_that_cannot_be_read_keeps_no_other_from_its_turn(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at() -> datetime | None:
        with farm.database.reading() as session:
            return session.get_one(Model, MODEL).looked_at

    hub = farm.served.local
    monkeypatch.setattr("scheduler.hub.hub.MAX_TREE_FILES", 15)
    monkeypatch.setattr("scheduler.watch.scan.LOOKS_AT_ONCE", 1)
    broken = add_model(hub, "mallory/model")
    submit(hub, broken, entry(BENCHMARK, 99.5))
    hub.commit(broken, {f"junk/{n}": b"x" for n in range(20)}, CommitText("Add junk", "mallory"))
    farm.scan()
    farm.scan()
    before = looked_at()
    for _ in range(2):
        farm.scan(WatchRules(sweep_seconds=0.001))
    after = looked_at()
    assert before is not None
    assert after is not None
    assert after > before


def test_a_model_for_which_the_hub_never_answers_keeps_no_other_from_its_turn(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    ask = farm.hub.model

    def away_for_one(model_id: str) -> ModelHead:
        looked_at.append(model_id)
        if model_id == "mallory/model":
            raise HubAway("the Hub answered 451")
        return ask(model_id)

    hub = farm.served.local
    submit(hub, add_model(hub, "mallory/model"), entry(BENCHMARK, 99.5))
    farm.scan()
    monkeypatch.setattr("scheduler.watch.scan.LOOKS_AT_ONCE", 1)
    monkeypatch.setattr(farm.hub, "model", away_for_one)
    with farm.database.transaction() as session:
        session.get_one(Model, "mallory/model").looked_at = None
    for _ in range(3):
        farm.scan(WatchRules(sweep_seconds=0.001))
    assert looked_at[:2] == ["mallory/model", MODEL]
    assert looked_at[2] == "mallory/model", "it stays due"


def test_models_that_policy_lists_take_turns_and_leave_some_of_each_scan_to_others(
    either: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []

    def gone(model_id: str) -> ModelHead:
        looked_at.append(model_id)
        raise Gone(model_id)

    def looked_at_by_a_scan() -> list[str]:
        del looked_at[:]
        either.scan(WatchRules(models=listed))
        return looked_at.copy()

    def known(model_id: str, since: datetime | None) -> None:
        with either.database.transaction() as session:
            session.add(Model(model_id=model_id, looked_at=since))

    listed = tuple(f"listed/{n}" for n in range(6))
    monkeypatch.setattr("scheduler.watch.scan.LOOKS_AT_ONCE", 4)
    monkeypatch.setattr(either.hub, "model", gone)
    for n in range(2):
        known(f"swept/{n}", now() - timedelta(hours=3 - n))
    scans = [looked_at_by_a_scan() for _ in range(2)]
    assert [scan[3:] for scan in scans] == [["swept/0"], ["swept/1"]]
    assert {*scans[0][:3], *scans[1][:3]} == set(listed)
    known("new/model", None)
    assert looked_at_by_a_scan() == ["new/model", *scans[0][:3]]
    assert looked_at_by_a_scan() == [*scans[1][:3], scans[0][0]]


def test_an_announced_model_over_which_the_database_gave_up_is_looked_at_by_the_next_scan(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_a_circle(*_: object) -> None:
        raise OperationalError("", {}, DeadlockDetected())

    farm.scan()
    submit(farm.served.local, model, entry(BENCHMARK, 80.5))
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.watch.models.read_changed", in_a_circle)
        announced_repos.look(farm.database, farm.hub, "model", MODEL)
    farm.scan()
    assert states(farm)[-1] == ("main", 80.5, ClaimState.SUBMITTED)


def test_a_commit_that_is_gone_meanwhile_is_no_model_that_is_gone(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    farm.scan()
    submit(hub, model, entry(BENCHMARK, 79.5) + entry("acme/other", 10))

    def gone(*_: object) -> list[TreeFile]:
        raise Missing("that commit was squashed away")

    monkeypatch.setattr(farm.hub, "tree", gone)
    farm.scan(WatchRules(models=(MODEL,)))
    assert states(farm) == [("main", 79.5, ClaimState.SUBMITTED)]


def test_a_hub_that_is_busy_is_not_asked_for_the_next_thing(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def busy(name: str) -> ModelHead:
        asked.append(name)
        raise HubBusy("the Hub answered 429", 120.0)

    hub = farm.served.local
    submit(hub, add_model(hub, "tiny/other"), entry(BENCHMARK, 60))
    with monkeypatch.context() as patched:
        patched.setattr(farm.hub, "model", busy)
        with pytest.raises(HubAway):
            farm.scan()
    assert len(asked) == 1
    farm.scan()
    assert len(farm.claims()) == 2, "all of them are still due"


def test_a_token_that_the_hub_does_not_know_is_said_in_the_log_and_withdraws_nothing(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    farm.scan()
    figures = collector.registry(farm.database, Policy())
    with farm.database.transaction() as session:
        session.get_one(Marker, HUB_SCANNED).at -= timedelta(minutes=40)
    with_old_token = replace(farm, hub=Hub(farm.served.url, "hf_old", request_seconds=30))
    monkeypatch.setattr("scheduler.control_worker.process.farm", lambda: with_old_token)
    scan_hub()
    age = figures.get_sample_value("reprofarm_scan_age_seconds")
    assert age is not None
    assert age >= 2400, "no scan got through"
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.control_worker.process.farm", lambda: farm)
        scan_hub()
    age = figures.get_sample_value("reprofarm_scan_age_seconds")
    assert age is not None
    assert age < 2400
    assert "scan put off: benchmark:official: the Hub refuses the farm's token" in caplog.text
    assert states(farm) == [("main", 79.5, ClaimState.SUBMITTED)]


def test_a_model_whose_owner_has_turned_discussions_off_is_watched(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(farm.served.local, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True, name="community.yaml")
    farm.scan()

    def refused(model_id: str) -> list[PullRequestHead]:
        raise NoAccess("403 Forbidden: Discussions are disabled for this repo.", model_id)

    monkeypatch.setattr(farm.hub, "pull_requests", refused)
    submit(farm.served.local, model, entry(BENCHMARK, 60))
    farm.scan()
    assert states(farm) == [
        ("main", 79.5, ClaimState.WITHDRAWN),
        ("refs/pr/1", 99.5, ClaimState.SUBMITTED),
        ("main", 60.0, ClaimState.SUBMITTED),
    ]
    farm.served.requests.clear()
    farm.scan(WatchRules(models=(MODEL,)))
    assert not [each for each in farm.served.requests if "/tree/" in each], "what is known is not read again"


def test_a_pull_request_that_was_deleted_keeps_nobody_from_reading_the_others(
    farm: ControlPlane, model: RepoName
) -> None:
    farm.scan()
    with farm.database.transaction() as session:
        known = session.get_one(Model, MODEL)
        known.heads = {**known.heads, "refs/pr/9": "0" * 40}
    submit(farm.served.local, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True, name="community.yaml")
    farm.scan(WatchRules(models=(MODEL,)))
    assert states(farm)[1:] == [("refs/pr/1", 99.5, ClaimState.SUBMITTED)]
    with farm.database.reading() as session:
        assert session.get_one(Model, MODEL).heads.keys() == {"main", "refs/pr/1"}


def test_a_file_that_the_hub_lists_and_does_not_have_yet_is_read_by_the_next_look(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm.scan()
    submit(farm.served.local, model, entry(BENCHMARK, 60))
    submit(farm.served.local, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True, name="community.yaml")
    read_file = farm.hub.read_file
    behind = [".eval_results/community.yaml", ".eval_results/results.yaml"]

    def lags(repo_type: RepoType, repo_id: str, commit: str, path: str, max_bytes: int) -> bytes:
        if path in behind:
            behind.remove(path)
            raise Gone(f"no {path} at {commit}")
        return read_file(repo_type, repo_id, commit, path, max_bytes)

    monkeypatch.setattr(farm.hub, "read_file", lags)
    farm.scan(WatchRules(models=(MODEL,)))
    assert states(farm) == [("main", 79.5, ClaimState.SUBMITTED)], "nothing is withdrawn for it"
    farm.scan(WatchRules(models=(MODEL,)))
    farm.scan(WatchRules(models=(MODEL,)))
    assert states(farm)[1:] == [("main", 60.0, ClaimState.SUBMITTED), ("refs/pr/1", 99.5, ClaimState.SUBMITTED)]


def test_a_spec_whose_commit_the_hub_does_not_know_yet_is_read_by_the_next_scan(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_file = farm.hub.read_file
    lag = ["once"]

    def lags(repo_type: RepoType, repo_id: str, commit: str, path: str, max_bytes: int) -> bytes:
        if path == "eval.yaml" and lag:
            lag.clear()
            raise Gone(f"no {path} at {commit}")
        return read_file(repo_type, repo_id, commit, path, max_bytes)

    monkeypatch.setattr(farm.hub, "read_file", lags)
    farm.scan()
    farm.scan()
    with farm.database.reading() as session:
        (spec,) = session.scalars(select(SpecFile)).all()
    assert spec.text == EVAL_YAML.encode()
