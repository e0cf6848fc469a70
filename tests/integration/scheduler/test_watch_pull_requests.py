"""What pull requests of a model claim: what is theirs alone, as long as they are open."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from deploy.localhub import conversations
from deploy.localhub.commits import CommitText
from deploy.localhub.discussions import Discussion, Status
from deploy.localhub.names import RepoName
from scheduler.hub.answers import PullRequestHead
from scheduler.hub.hub import Hub
from scheduler.state_machine import ClaimState
from scheduler.watch import models
from specs.policy.watch import WatchRules
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, empty_farm
from tests.support.waiting import until

BENCHMARK = "acme/capitals"
MODEL = "tiny/model"

databases = mostly_sqlite
farm = empty_farm


@pytest.fixture
def proposed(farm: ControlPlane) -> Discussion:
    """The first pull request of a model that claims nothing on main, which claims 99.5; it was found."""
    hub = farm.served.local
    add_benchmark(hub, BENCHMARK)
    model = add_model(hub, MODEL)
    number = submit(hub, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True)
    assert number is not None
    farm.scan()
    return hub.storage.discussions.find(model, number)


def states(farm: ControlPlane) -> list[tuple[str, float | None, ClaimState]]:
    return [(claim.ref, claim.value, ClaimState(claim.state)) for claim in farm.claims()]


@ON_BOTH
def test_a_pull_request_does_not_claim_what_main_claims_already(farm: ControlPlane, model: RepoName) -> None:
    both = entry(BENCHMARK, 79.5) + entry(BENCHMARK, 60, more="  notes: with tools\n")
    submit(farm.served.local, model, both, author="somebody", create_pr=True)
    farm.scan()
    assert [(claim.ref, claim.value) for claim in farm.claims()] == [("main", 79.5), ("refs/pr/1", 60.0)]


def test_a_pull_request_that_only_pins_the_benchmark_is_a_claim_on_that_commit(
    farm: ControlPlane, model: RepoName
) -> None:
    hub, commit = farm.served.local, "a" * 40
    pinned = entry(BENCHMARK, 79.5).replace("  value", f"    revision: {commit}\n  value")
    submit(hub, model, pinned, author="somebody", create_pr=True)
    farm.scan()
    said = [(claim.ref, claim.value, claim.dataset_revision) for claim in farm.claims()]
    assert said == [("main", 79.5, None), ("refs/pr/1", 79.5, commit)]
    # Where main has pinned it since, the entry that another still carries from before is no claim of its own.
    hub.commit(model, {"README.md": b"Better"}, CommitText("Improve", "somebody"), create_pr=True)
    submit(hub, model, pinned)
    farm.scan()
    found = [(claim.ref, claim.dataset_revision) for claim in farm.claims() if claim.live]
    assert ("refs/pr/2", None) not in found
    assert ("main", commit) in found


@pytest.mark.parametrize("page", [1, 1000])
def test_a_pull_request_that_is_behind_main_does_not_claim_what_stood_there(
    farm: ControlPlane, model: RepoName, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However few commits the Hub lists at once.
    monkeypatch.setattr("scheduler.hub.hub.COMMITS_PER_PAGE", page)
    hub = farm.served.local
    hub.commit(model, {"README.md": b"Better"}, CommitText("Improve", "somebody"), create_pr=True)
    also = entry(BENCHMARK, 79.5) + entry(BENCHMARK, 60, more="  notes: with tools\n")
    submit(hub, model, also, author="somebody", create_pr=True)
    for value in (60.5, 61.5):
        submit(hub, model, entry(BENCHMARK, value))
    farm.scan()
    assert [(claim.ref, claim.value) for claim in farm.claims()] == [("main", 61.5), ("refs/pr/2", 60.0)]


def test_a_pull_request_branched_off_where_main_was_last_merged_into_it(farm: ControlPlane, model: RepoName) -> None:
    hub = farm.served.local
    hub.commit(model, {"README.md": b"Better"}, CommitText("Improve", "somebody"), create_pr=True)
    submit(hub, model, entry(BENCHMARK, 60.5))
    git = hub.storage.git(model)
    ours, theirs = git.read_ref("refs/pr/1"), git.read_ref("refs/heads/main")
    assert ours is not None
    assert theirs is not None
    tree = git.merge(ours, theirs).tree
    assert tree is not None
    merged = git.commit_tree(tree, (ours, theirs), CommitText("Merge main", "somebody").signature())
    git.move_ref("refs/pr/1", merged, ours)
    submit(hub, model, entry(BENCHMARK, 61.5))
    farm.scan()
    assert [(claim.ref, claim.value) for claim in farm.claims()] == [("main", 61.5)]


def test_what_a_pull_request_says_of_its_own_is_its_claim_however_far_it_is_behind(
    farm: ControlPlane, model: RepoName
) -> None:
    hub = farm.served.local
    submit(hub, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True)
    submit(hub, model, entry(BENCHMARK, 50), author="somebody", create_pr=True, name="more.yaml")
    submit(hub, model, entry(BENCHMARK, 60.5))
    del farm.served.requests[:]
    farm.scan()
    assert {claim.ref: claim.value for claim in farm.claims()} == {"main": 60.5, "refs/pr/1": 99.5, "refs/pr/2": 50}
    # Of each pull request its own commits, and main's once.
    assert len([each for each in farm.served.requests if "/commits/" in each]) == 3


def test_where_a_pull_request_branched_off_too_long_ago_nothing_of_it_is_read(
    farm: ControlPlane, model: RepoName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "MAX_COMMITS", 2)
    hub = farm.served.local
    submit(hub, model, entry(BENCHMARK, 99.5), author="somebody", create_pr=True)
    for value in (60.5, 61.5, 62.5):
        submit(hub, model, entry(BENCHMARK, value))
    farm.scan()
    assert states(farm) == [("main", 62.5, ClaimState.SUBMITTED)]


def test_closing_a_pull_request_withdraws_its_claims(farm: ControlPlane, proposed: Discussion) -> None:
    conversations.change_status(farm.served.local, proposed, "tiny", Status.CLOSED)
    farm.scan()
    assert states(farm) == [("refs/pr/1", 99.5, ClaimState.WITHDRAWN)]


def test_merging_a_pull_request_makes_its_claim_one_on_main(farm: ControlPlane, proposed: Discussion) -> None:
    conversations.merge(farm.served.local, proposed, "tiny")
    farm.scan()
    assert states(farm) == [
        ("refs/pr/1", 99.5, ClaimState.WITHDRAWN),
        ("main", 99.5, ClaimState.SUBMITTED),
    ]


def test_many_pull_requests_do_not_withdraw_those_behind_them(
    farm: ControlPlane, proposed: Discussion, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    monkeypatch.setattr("scheduler.hub.hub.MAX_PULL_REQUESTS", 1)
    submit(hub, proposed.repo, entry(BENCHMARK, 11), author="mallory", create_pr=True, name="more.yaml")
    farm.scan()
    assert states(farm) == [
        ("refs/pr/1", 99.5, ClaimState.SUBMITTED),
        ("refs/pr/2", 11, ClaimState.SUBMITTED),
    ]
    conversations.change_status(hub, proposed, "tiny", Status.CLOSED)
    farm.scan(WatchRules(models=(MODEL,)))
    assert states(farm)[0] == ("refs/pr/1", 99.5, ClaimState.WITHDRAWN)


def test_many_pull_requests_are_asked_after_a_few_at_a_time_and_none_that_claims_nothing(
    farm: ControlPlane, proposed: Discussion, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = farm.served.local
    asked: list[set[str]] = []
    for number in (2, 3):
        submit(hub, proposed.repo, entry(BENCHMARK, number), author="mallory", create_pr=True, name=f"{number}.yaml")
    hub.commit(proposed.repo, {"README.md": b"better"}, CommitText("No results", "mallory"), create_pr=True)
    farm.scan()
    # Another comes before all of these, of which one is closed.
    monkeypatch.setattr("scheduler.hub.hub.MAX_PULL_REQUESTS", 1)
    monkeypatch.setattr("scheduler.watch.models.MAX_ASKED", 1)
    submit(hub, proposed.repo, entry(BENCHMARK, 5), author="mallory", create_pr=True, name="5.yaml")
    conversations.change_status(hub, proposed, "tiny", Status.CLOSED)
    still_open = Hub.still_open

    def noted(self: Hub, model_id: str, refs: Collection[str]) -> list[PullRequestHead]:
        asked.append(set(refs))
        return still_open(self, model_id, refs)

    monkeypatch.setattr(Hub, "still_open", noted)

    def scanned() -> bool:
        farm.scan(WatchRules(models=(MODEL,)))
        return ("refs/pr/1", 99.5, ClaimState.WITHDRAWN) in states(farm)

    until(scanned)
    assert [state for _, _, state in states(farm)].count(ClaimState.SUBMITTED) == 3
    assert {len(refs) for refs in asked} == {1}
    assert "refs/pr/4" not in {ref for refs in asked for ref in refs}
