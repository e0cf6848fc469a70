"""Watching a real local Hub over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from deploy.localhub.commits import Changes, CommitText
from deploy.localhub.names import RepoName
from scheduler.database.tables import Model, StaleWalk
from scheduler.hub.answers import PullRequestHead
from scheduler.state_machine import ClaimState
from scheduler.watch import claims, result_files
from scheduler.watch.announced_repos import put_off
from scheduler.watch.models import look_at_model
from specs.errors import HubAway, NoAccess
from specs.judging.staleness import Head, Ran, what_changed
from specs.policy.watch import WatchRules
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, empty_farm

BENCHMARK = "acme/capitals"
MODEL = "tiny/model"

databases = mostly_sqlite
farm = empty_farm


def known(farm: ControlPlane) -> Model:
    """What the farm knows of the model."""
    with farm.database.reading() as session:
        return session.get_one(Model, MODEL)


def states(farm: ControlPlane) -> list[tuple[str, float | None, ClaimState]]:
    return [(claim.ref, claim.value, ClaimState(claim.state)) for claim in farm.claims()]


def test_results_on_main_and_on_pull_requests_become_claims(farm: ControlPlane, model: RepoName) -> None:
    submit(farm.served.local, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True, name="community.yaml")
    farm.scan()
    author, community = farm.claims()
    assert (author.ref, author.value, author.submitter, author.pull_request) == ("main", 79.5, "tiny", None)
    assert (community.ref, community.value, community.submitter) == ("refs/pr/1", 99.5, "somebody")
    assert community.pull_request == 1


def test_result_files_that_are_too_many_are_said_to_be_and_take_nothing_from_what_was_read(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_files, "MAX_RESULT_FILES", 2)
    hub = farm.served.local
    submit(hub, model, entry(BENCHMARK, 60), name="z.yaml", author="somebody", create_pr=True)
    farm.scan()
    for name in ("a", "b", "c"):
        submit(hub, model, entry(f"acme/{name}", 50), name=f"{name}.yaml")
    look_again(farm)
    living = {claim.path.rpartition("/")[2]: claim for claim in farm.claims() if claim.live}
    assert {name: claim.state for name, claim in living.items()} == {
        "results.yaml": ClaimState.SUBMITTED,
        "a.yaml": ClaimState.SUBMITTED,
        "b.yaml": ClaimState.REJECTED,
        "z.yaml": ClaimState.SUBMITTED,
    }
    said = "this file and 1 more are not read: of the result files of one branch or pull request, 2 are"
    assert living["b.yaml"].reason == said
    # A pull request that carries what is not read of main claims nothing by that.
    submit(hub, model, entry(BENCHMARK, 61), name="y.yaml", author="somebody", create_pr=True)
    look_again(farm)
    assert [claim.path for claim in farm.claims() if claim.ref == "refs/pr/2"] == [".eval_results/y.yaml"]
    fewer = Changes(removed_files=[".eval_results/a.yaml", ".eval_results/c.yaml"])
    hub.commit_changes(model, fewer, CommitText("Fewer", "tiny"), revision="main")
    look_again(farm)
    states = {claim.path.rpartition("/")[2]: claim.state for claim in farm.claims() if claim.live}
    assert states["b.yaml"] == ClaimState.SUBMITTED
    assert "a.yaml" not in states


@ON_BOTH
def test_claims_that_are_too_many_are_said_to_be_and_take_nothing_from_what_was_read(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MAX_CLAIMS", 4)
    hub = farm.served.local

    def noted(*notes: int) -> str:
        return "".join(entry(BENCHMARK, 50, more=f"  notes: number {n}\n") for n in notes)

    def living(ref: str) -> list[tuple[str | None, str]]:
        found = [claim for claim in farm.claims() if claim.live and claim.ref == ref]
        return sorted(
            (claim.notes or "", claim.reason if claim.state == ClaimState.REJECTED else "") for claim in found
        )

    def said(number: int) -> tuple[str, str]:
        which = "this entry is" if number == 1 else f"this entry and {number - 1} more of this file are"
        return "", f"{which} not read: of the claims of one branch or pull request, 4 are"

    submit(hub, model, noted(1, 2), name="a.yaml")
    submit(hub, model, noted(7, 8), name="b.yaml", author="somebody", create_pr=True)
    farm.scan()
    # Besides the one of results.yaml there is room for one more, wherever it stands in its file.
    submit(hub, model, noted(3, 4, 1, 2, 5), name="a.yaml")
    look_again(farm)
    assert living("main") == sorted([("", ""), ("number 1", ""), ("number 2", ""), ("number 3", ""), said(2)])
    assert living("refs/pr/1") == [("number 7", ""), ("number 8", "")], "others have room of their own"
    # A file that is not read to its end is main's all the same, and is read again when main changes.
    submit(hub, model, noted(9), name="d.yaml", author="somebody", create_pr=True)
    look_again(farm)
    assert living("refs/pr/2") == [("number 9", "")]
    fewer = Changes(removed_files=[".eval_results/results.yaml"])
    hub.commit_changes(model, fewer, CommitText("Fewer", "tiny"), revision="main")
    look_again(farm)
    # That one comes after this file in the alphabet: its room is taken at the next change.
    submit(hub, model, "not: a list", name="c.yaml")
    look_again(farm)
    found = living("main")
    assert said(1) in found
    assert [notes for notes, _ in found] == ["", "", "number 1", "number 2", "number 3", "number 4"]


def look_again(farm: ControlPlane) -> None:
    with farm.database.transaction() as session:
        session.get_one(Model, MODEL).looked_at = None
    farm.scan()


def test_a_model_that_was_made_from_another_is_found_too(farm: ControlPlane, model: RepoName) -> None:
    hub = farm.served.local
    derived = add_model(hub, "tiny/derived")
    hub.commit(derived, {"README.md": f"---\nbase_model: {MODEL}\n---\n".encode()}, CommitText("Say so", "tiny"))
    submit(hub, derived, entry(BENCHMARK, 60))
    farm.scan()
    assert {claim.model_id for claim in farm.claims()} == {MODEL, "tiny/derived"}


def test_a_malformed_file_is_one_rejected_claim_with_a_reason(farm: ControlPlane, model: RepoName) -> None:
    submit(farm.served.local, model, "- dataset: {id: acme/capitals\n  value: 3", name="broken.yaml")
    farm.scan()
    broken, sound = farm.claims()
    assert broken.state == ClaimState.REJECTED
    assert "line" in broken.reason
    assert sound.state == ClaimState.SUBMITTED


@ON_BOTH
def test_a_source_that_is_said_later_is_known_and_the_claim_stays_the_same(farm: ControlPlane, model: RepoName) -> None:
    farm.scan()
    (before,) = farm.claims()
    submit(farm.served.local, model, entry(BENCHMARK, 79.5, more="  source: {url: 'https://hub.test/log.eval'}\n"))
    farm.scan(WatchRules(sweep_seconds=0.001))
    (after,) = farm.claims()
    assert (before.source_url, after.source_url) == (None, "https://hub.test/log.eval")
    assert after.claim_id == before.claim_id


def test_an_unchanged_claim_stays_the_same_claim(farm: ControlPlane, model: RepoName) -> None:
    farm.scan()
    (before,) = farm.claims()
    # Another entry moves it, and its file changes: it says the same nevertheless.
    submit(farm.served.local, model, entry("acme/other", 10) + entry(BENCHMARK, 79.5))
    farm.scan(WatchRules(models=(MODEL,)))
    after = next(claim for claim in farm.claims() if claim.dataset_id == BENCHMARK)
    assert (after.claim_id, after.entry) == (before.claim_id, 1)


def test_a_changed_value_withdraws_the_old_claim_and_makes_a_new_one(farm: ControlPlane, model: RepoName) -> None:
    farm.scan()
    submit(farm.served.local, model, entry(BENCHMARK, 81))
    farm.scan()
    old, new = farm.claims()
    assert (old.value, old.state, old.live) == (79.5, ClaimState.WITHDRAWN, False)
    assert "from 79.5 to 81" in old.reason
    assert (new.value, new.state) == (81, ClaimState.SUBMITTED)


def test_a_removed_entry_is_withdrawn_and_the_record_says_so(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    model = add_model(hub, MODEL)
    submit(hub, model, entry(BENCHMARK, 79.5) + entry("acme/other", 10))
    farm.scan()
    submit(hub, model, entry("acme/other", 10))
    farm.scan()
    gone = next(claim for claim in farm.claims() if claim.dataset_id == BENCHMARK)
    assert gone.state == ClaimState.WITHDRAWN
    assert farm.history(gone.claim_id) == ["submitted", "withdrawn"]


def test_results_do_not_change_what_the_weights_are(farm: ControlPlane, model: RepoName) -> None:
    farm.scan()
    before = known(farm)
    submit(farm.served.local, model, entry(BENCHMARK, 79.5) + entry("acme/other", 1))
    farm.scan(WatchRules(models=(MODEL,)))
    after = known(farm)
    assert before.revision != after.revision
    assert before.weights_sha256 == after.weights_sha256


def test_a_scan_of_an_unchanged_hub_costs_no_request_a_model(farm: ControlPlane) -> None:
    hub = farm.served.local
    benchmarks = [f"acme/bench{n}" for n in range(3)]
    for dataset_id in benchmarks:
        add_benchmark(hub, dataset_id)
    for n in range(5):
        submit(hub, add_model(hub, f"tiny/model{n}"), "".join(entry(b, 50 + n) for b in benchmarks))
    farm.scan()
    assert len(farm.claims()) == 15
    del farm.served.requests[:]
    farm.scan()
    # One listing, and one conditional look at each leaderboard.
    assert len(farm.served.requests) == 1 + len(benchmarks)
    del farm.served.requests[:]
    submit(hub, add_model(hub, "tiny/new"), entry(benchmarks[0], 12))
    farm.scan()
    assert not any("tiny/model" in request for request in farm.served.requests)
    assert len(farm.claims()) == 16


@ON_BOTH
def test_a_model_that_is_announced_while_it_is_looked_at_is_looked_at_again(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    look = farm.hub.pull_requests

    def changed_meanwhile(model_id: str) -> list[PullRequestHead]:
        found = look(model_id)
        submit(hub, model, entry(BENCHMARK, 85.5))
        # Another control worker is told of it, and sees that a scan is under way.
        put_off(farm.database, "model", model_id)
        return found

    monkeypatch.setattr(farm.hub, "pull_requests", changed_meanwhile)
    # The scan finds a new model, and then one that it knows: in both cases the head was read before the change.
    for value in (79.5, 85.5):
        farm.scan(WatchRules(sweep_seconds=86_400))
        assert farm.claims()[-1].value == value
        assert known(farm).looked_at is None
    monkeypatch.setattr(farm.hub, "pull_requests", look)
    farm.scan()
    assert known(farm).looked_at is not None


@pytest.mark.parametrize("frozen_at", ["tree", "read_file", "pull_requests"])
def test_a_look_that_was_frozen_while_another_found_something_newer_puts_nothing_back(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch, frozen_at: str
) -> None:
    hub, ask = farm.served.local, getattr(farm.hub, frozen_at)
    farm.scan()

    def frozen(*asked: Any) -> object:
        found = ask(*asked)
        monkeypatch.setattr(farm.hub, frozen_at, ask)
        submit(hub, model, entry(BENCHMARK, 90.5))
        # Its marker ran out meanwhile.
        look_at_model(farm.database, farm.hub, MODEL, None)
        return found

    monkeypatch.setattr(farm.hub, frozen_at, frozen)
    submit(hub, model, entry(BENCHMARK, 85.5))
    with pytest.raises(HubAway, match="looked at by another"):
        look_at_model(farm.database, farm.hub, MODEL, None)
    newest = farm.hub.model(MODEL).revision
    assert (known(farm).revision, known(farm).heads) == (newest, {"main": newest})
    assert [claim.value for claim in farm.claims() if claim.live] == [90.5]
    # Nor is the newer one found once more by whoever comes next.
    count = len(farm.claims())
    farm.scan()
    assert len(farm.claims()) == count


def test_a_models_commit_and_its_files_are_always_of_one_look(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    farm.scan()
    before = known(farm)
    hub.commit(model, {"model.safetensors": b"others"}, CommitText("Other weights", "tiny"))
    submit(hub, model, entry(BENCHMARK, 99.5))

    def disabled(model_id: str) -> list[PullRequestHead]:
        raise NoAccess(f"discussions are disabled on {model_id}", model_id)

    monkeypatch.setattr(farm.hub, "pull_requests", disabled)
    farm.scan()
    after = known(farm)
    assert after.weights_sha256 != before.weights_sha256
    assert after.revision == farm.hub.model(MODEL).revision, "or a run of the new files would be one of the old commit"
    assert states(farm)[-1] == ("main", 99.5, ClaimState.SUBMITTED)


def test_what_a_look_did_not_come_to_is_read_by_the_next(farm: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    submit(hub, add_model(hub, MODEL), entry(BENCHMARK, 79.5))

    def away(*_: object) -> bytes:
        raise HubAway("the Hub is away")

    with monkeypatch.context() as patched:
        patched.setattr("scheduler.watch.models.read_changed", away)
        farm.scan()
    assert farm.claims() == []
    farm.scan()
    assert states(farm) == [("main", 79.5, ClaimState.SUBMITTED)]


def test_one_row_does_not_turn_the_scores_of_all_others_into_percentages(farm: ControlPlane) -> None:
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    for n in (4, 5, 6):
        submit(hub, add_model(hub, f"honest{n}/model"), entry(BENCHMARK, n / 10))
    model = add_model(hub, MODEL)
    submit(hub, model, entry(BENCHMARK, 57.0))
    for n in range(5):
        submit(hub, model, entry(BENCHMARK, 60.0 + n), author="tiny", create_pr=True, name=f"pr{n}.yaml")
    farm.scan()
    farm.plan()
    rules = {claim.value: claim.rules and claim.rules["scale"] for claim in farm.claims()}
    assert {rules[0.4], rules[0.5], rules[0.6]} == {"fraction"}
    assert rules[57.0] is None, "no score on that scale"


@ON_BOTH
def test_too_many_files_do_not_keep_what_was_verified_before_them_current(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    farm.scan()
    before = known(farm)
    many = {f"junk/{n}": b"x" for n in range(20)}
    hub.commit(model, {**many, "model.safetensors": b"others"}, CommitText("Hide other weights", "tiny"))
    with monkeypatch.context() as patched:
        patched.setattr("scheduler.hub.hub.MAX_TREE_FILES", 15)
        farm.scan(WatchRules(sweep_seconds=0.001))
    after = known(farm)
    with farm.database.reading() as session:
        assert session.scalars(select(StaleWalk.subject_id).where(StaleWalk.subject == "model")).all() == [MODEL]
    ran = Ran(str(before.weights_sha256), "d" * 40, None, {}, None)
    assert what_changed(ran, Head(after.weights_sha256, None, None)) == "the model's files changed since"
    farm.plan()
    (claim,) = farm.claims()
    assert (claim.state, claim.reason) == (ClaimState.BLOCKED, "waits for a look at the model's files")
    farm.scan(WatchRules(sweep_seconds=0.001))
    assert known(farm).weights_sha256 not in {before.weights_sha256, after.weights_sha256}
