"""Claims of models whose files the farm may not read: the Hub shows them to everybody."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from deploy.localhub.commits import CommitText
from deploy.localhub.names import RepoName
from scheduler.database.tables import Claim, Event, now
from scheduler.state_machine import ClaimState
from specs.policy.watch import WatchRules
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.hub_content import add_benchmark, add_model, entry, submit
from tests.support.scheduler import ControlPlane, empty_farm

BENCHMARK = "acme/capitals"
MODEL = "tiny/model"
AGAIN = WatchRules(sweep_seconds=0.001)

databases = mostly_sqlite
farm = empty_farm


@pytest.fixture
def model(farm: ControlPlane) -> RepoName:
    """Gated; the farm was not let in."""
    add_benchmark(farm.served.local, BENCHMARK)
    gated = add_model(farm.served.local, MODEL)
    farm.served.local.set_gated(gated, "manual")
    return gated


def test_claims_of_a_gated_model_are_known_and_say_whose_move_it_is(farm: ControlPlane, model: RepoName) -> None:
    submit(farm.served.local, model, entry(BENCHMARK, 79.5) + entry(BENCHMARK, 60, more="  notes: 8-shot\n"))
    submit(farm.served.local, model, entry(BENCHMARK, 99.5), author="eve", create_pr=True, name="community.yaml")
    farm.scan()
    farm.plan()
    assert [(claim.ref, claim.entry, claim.value) for claim in farm.claims()] == [
        ("main", 0, 79.5),
        ("main", 1, 60.0),
        ("refs/pr/1", 0, 99.5),
    ]
    for claim in farm.claims():
        assert claim.state == ClaimState.BLOCKED
        assert "must accept its terms" in claim.reason


@ON_BOTH
def test_a_claim_that_waits_on_says_so_once_and_since_when(farm: ControlPlane, model: RepoName) -> None:
    submit(farm.served.local, model, entry(BENCHMARK, 79.5))
    farm.scan()
    farm.plan()
    (first,) = farm.claims()
    with farm.database.reading() as session:
        events = session.scalar(select(func.count()).select_from(Event))

    def look_again() -> Claim:
        with farm.database.transaction() as session:
            session.execute(update(Claim).values(recheck_at=now()))
        farm.plan()
        (claim,) = farm.claims()
        return claim

    for _ in range(3):
        claim = look_again()
        assert (claim.state, claim.since, claim.reason) == (ClaimState.BLOCKED, first.since, first.reason)
        assert claim.recheck_at is not None
        assert claim.recheck_at > now()
    with farm.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == events
    farm.served.local.set_gated(model, None)
    farm.scan(AGAIN)
    assert look_again().state == ClaimState.PLANNED


def test_it_is_asked_once_however_many_files_are_shut(farm: ControlPlane, model: RepoName) -> None:
    for number in range(3):
        submit(farm.served.local, model, entry(BENCHMARK, number, more=f"  notes: '{number}'\n"), name=f"{number}.yaml")
    farm.served.requests.clear()
    farm.scan()
    assert len(farm.claims()) == 3
    # Its head, and what is shown.
    assert farm.served.requests.count(f"GET /api/models/{MODEL}") == 2


@ON_BOTH
def test_a_claim_stays_the_same_when_the_farm_is_let_in(farm: ControlPlane, model: RepoName) -> None:
    submit(farm.served.local, model, entry(BENCHMARK, 79.5))
    farm.scan()
    (before,) = farm.claims()
    farm.served.local.set_gated(model, None)
    submit(farm.served.local, model, entry(BENCHMARK, 79.5) + entry(BENCHMARK, 60, more="  notes: 8-shot\n"))
    farm.scan(AGAIN)
    assert [claim.value for claim in farm.claims()] == [79.5, 60.0]
    assert farm.claims()[0].claim_id == before.claim_id


@pytest.mark.parametrize("where", ["main", "a pull request"])
def test_what_the_hub_shows_late_is_found_by_a_later_look(
    farm: ControlPlane, model: RepoName, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposed = where == "a pull request"
    number = submit(farm.served.local, model, entry(BENCHMARK, 79.5), author="eve", create_pr=proposed)
    before = farm.hub.eval_results(MODEL)
    values = []
    for shown in ([], before, None):
        with monkeypatch.context() as patched:
            if shown is not None:
                patched.setattr(farm.hub, "eval_results", lambda _, shown=shown: shown)
            farm.scan(AGAIN)
        values.append([claim.value for claim in farm.claims() if claim.live])
        if shown == before:
            revision = "main" if number is None else f"refs/pr/{number}"
            submit(farm.served.local, model, entry(BENCHMARK, 60), author="eve", revision=revision)
            # The index is behind.
            with monkeypatch.context() as patched:
                patched.setattr(farm.hub, "eval_results", lambda _: before)
                farm.scan(AGAIN)
    assert values == [[], [79.5], [60.0]]


def test_a_file_that_the_hub_does_not_show_is_read_once_the_farm_is_let_in(farm: ControlPlane, model: RepoName) -> None:
    # The Hub reads no other ending, and other files count all the same.
    submit(farm.served.local, model, entry(BENCHMARK, 50), name="a.yml")
    submit(farm.served.local, model, entry(BENCHMARK, 79.5), name="b.yaml")
    farm.scan()
    assert [claim.value for claim in farm.claims()] == [79.5]
    farm.served.local.set_gated(model, None)
    farm.scan(AGAIN)
    assert sorted(claim.value or 0 for claim in farm.claims()) == [50.0, 79.5]
    farm.served.requests.clear()
    farm.scan(AGAIN)
    assert not [each for each in farm.served.requests if "/tree/" in each], "what was read is not read again"


@pytest.mark.parametrize("on_main", [2, 0])
def test_what_is_shut_is_asked_for_once_a_look(farm: ControlPlane, model: RepoName, on_main: int) -> None:
    for number in range(on_main):
        submit(farm.served.local, model, entry(BENCHMARK, 10 + number), name=f"{number}.yaml")
    for number in range(4):
        files = {f".eval_results/{name}.yaml": entry(BENCHMARK, number).encode() for name in ("a", "b", "c")}
        farm.served.local.commit(model, files, CommitText("Add results", f"fan{number}"), create_pr=True)

    def look() -> list[str]:
        farm.served.requests.clear()
        farm.scan(AGAIN)
        return [each for each in farm.served.requests if MODEL in each]

    look()
    before = {claim.claim_id for claim in farm.claims()}
    assert len(before) == on_main + 12
    asked = look()
    assert sum("/resolve/" in each for each in asked) == 1
    assert len(asked) == 6, "its head, main's tree and a file, the index, and two for the list of pull requests"
    assert {claim.claim_id for claim in farm.claims()} == before
    submit(farm.served.local, model, entry(BENCHMARK, 60), author="fan2", revision="refs/pr/3", name="a.yaml")
    look()
    assert sorted(claim.value or 0 for claim in farm.claims() if claim.live and claim.ref == "refs/pr/3") == [2, 2, 60]
    farm.served.local.set_gated(model, None)
    look()
    assert len(look()) == 3, "all is read"
    assert sum(claim.live for claim in farm.claims()) == on_main + 12
