from __future__ import annotations

from sqlalchemy import select, update

from scheduler.database.tables import Claim
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.claims import ClaimView
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison


def test_an_empty_farm_has_an_empty_list(api: RunningApi) -> None:
    assert api.json("/v1/claims") == {"items": [], "next": None}


def test_a_claim_shows_what_its_author_wrote(api: RunningApi) -> None:
    api.rows.claim("other/model")
    claim_id = api.rows.claim(
        "tiny/model",
        ref="refs/pr/7",
        pull_request=7,
        notes="No tools",
        source_url="https://example.com/log",
        warnings=["the score's unit is unclear"],
        dataset_revision="main",
        entry=2,
    )
    claim = api.json(f"/v1/claims/{claim_id}")
    wanted = {
        "id": claim_id,
        "model": "tiny/model",
        "ref": "refs/pr/7",
        "pull_request": 7,
        "path": ".eval_results/capitals.yaml",
        "entry": 2,
        "submitter": "alice",
        "dataset": "acme/capitals",
        "task": "europe",
        "dataset_revision": "main",
        "value": 41.2,
        "notes": "No tools",
        "source_url": "https://example.com/log",
        "warnings": ["the score's unit is unclear"],
        "state": "submitted",
        "reason": "found on the Hub",
    }
    assert {name: claim[name] for name in wanted} == wanted
    # What is not known yet is null, never a number.
    unknown = ("scale", "scale_source", "claimed", "tolerance", "reproduction", "verdict", "badge")
    assert [claim[name] for name in unknown] == [None] * len(unknown)


def test_a_planned_claim_shows_how_it_will_be_judged_and_where_it_waits(api: RunningApi) -> None:
    ahead = api.rows.planned("first/model", run={"state": ReproductionState.DISPATCHED, "attempt": 1})
    community = api.rows.planned("community/model", run={"priority": 30})
    author = api.rows.planned("author/model", run={"priority": 20})
    api.rows.planned("elsewhere/model", run={"pool": "h100", "priority": 1})
    positions = {
        claim_id: api.json(f"/v1/claims/{claim_id}")["reproduction"]["queue_position"]
        for claim_id in (ahead, author, community)
    }
    assert positions == {ahead: 1, author: 2, community: 3}
    claim = api.json(f"/v1/claims/{author}")
    assert (claim["scale"], claim["scale_source"]) == ("percent", "leaderboard")
    assert (claim["claimed"], claim["tolerance"]) == (0.412, 0.02)
    assert claim["next_step"] == "Waits for a worker of pool cpu, number 2 there; no worker of it is there."


def test_a_list_gives_the_same_queue_positions_as_a_single_claim(api: RunningApi) -> None:
    ids = [api.rows.planned(f"m/{number}") for number in range(3)]
    listed = {claim["id"]: claim["reproduction"]["queue_position"] for claim in api.json("/v1/claims")["items"]}
    assert [listed[claim_id] for claim_id in ids] == [1, 2, 3]


def test_a_running_claim_shows_the_progress_of_its_current_attempt(api: RunningApi) -> None:
    api.rows.running("other/model")
    claim_id = api.rows.running("tiny/model")
    run = api.json(f"/v1/claims/{claim_id}")["reproduction"]
    wanted = {
        "id": api.rows.run_of(claim_id),
        "state": "running",
        "attempt": 2,
        "worker": "w1@host",
        "stage": "running",
        "samples_done": 120,
        "samples_total": 300,
        "score": 0.405,
        "queue_position": None,
        "evidence_url": None,
    }
    assert {name: run[name] for name in wanted} == wanted


def test_a_verified_claim_shows_verdict_badge_publication_and_evidence(api: RunningApi) -> None:
    api.rows.verified("other/model")
    claim_id = api.rows.verified("tiny/model")
    api.rows.publication(claim_id, state="published", number=4, url="http://hub.test/tiny/model/discussions/4")
    claim = ClaimView.model_validate(api.json(f"/v1/claims/{claim_id}"))
    assert claim.verdict is not None
    assert claim.verdict.outcome is Outcome.VERIFIED
    assert claim.verdict.comparison == comparison()
    assert claim.tolerance == comparison().tolerance
    assert claim.badge is not None
    assert not claim.badge.revoked
    assert claim.publication is not None
    assert (claim.publication.state, claim.publication.number) == ("published", 4)
    assert "http://hub.test/tiny/model/discussions/4." in claim.next_step
    assert claim.reproduction is not None
    assert claim.reproduction.evidence_url == f"http://farm.test/v1/evidence/{claim.reproduction.evidence_sha256}"


def test_a_rejected_claim_without_a_benchmark_can_be_shown(api: RunningApi) -> None:
    claim_id = api.rows.claim(
        state=ClaimState.REJECTED, reason="line 3: not a mapping", dataset_id=None, task_id=None, value=None
    )
    claim = api.json(f"/v1/claims/{claim_id}")
    assert (claim["state"], claim["reason"], claim["dataset"], claim["value"]) == (
        "rejected",
        "line 3: not a mapping",
        None,
        None,
    )


def test_claims_are_listed_newest_first_and_a_cursor_goes_through_all_of_them_once(api: RunningApi) -> None:
    ids = [api.rows.claim() for _ in range(7)]
    seen: list[str] = []
    asked: dict[str, object] = {"limit": 3}
    while True:
        page = api.json("/v1/claims", **asked)
        seen += [claim["id"] for claim in page["items"]]
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
        # A claim that appears meanwhile shifts nothing.
        api.rows.claim("late/model")
    assert seen == ids[::-1]


def test_claims_of_one_instant_are_neither_lost_nor_doubled_between_pages(api: RunningApi) -> None:
    first = api.rows.claim()
    with api.rows.database.reading() as session:
        at = session.scalars(select(Claim.created_at)).one()
    for _ in range(4):
        api.rows.claim()
    with api.rows.database.transaction() as session:
        session.execute(update(Claim).values(created_at=at))
    seen: list[str] = []
    cursor = None
    while True:
        page = api.json("/v1/claims", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [claim["id"] for claim in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert first in seen


def test_each_filter_finds_its_claim_and_no_other(api: RunningApi) -> None:
    wanted = api.rows.decided(
        Outcome.MISMATCH,
        "find/me",
        comparison(0.2),
        dataset_id="acme/rivers",
        task_id="asia",
        submitter="bob",
        state=ClaimState.DECIDED,
    )
    api.rows.verified()
    api.rows.claim()
    for name, value in (
        ("model", "find/me"),
        ("dataset", "acme/rivers"),
        ("task", "asia"),
        ("outcome", "mismatch"),
        ("submitter", "bob"),
    ):
        assert [claim["id"] for claim in api.json("/v1/claims", **{name: value})["items"]] == [wanted], name
    assert len(api.json("/v1/claims", state="decided")["items"]) == 2
    assert len(api.json("/v1/claims", state="decided", outcome="mismatch")["items"]) == 1
    assert api.json("/v1/claims", model="find/m")["items"] == []


def test_the_start_of_an_id_is_enough_while_it_fits_one_claim_only(api: RunningApi) -> None:
    first = api.rows.claim(claim_id="abcdef00" + "0" * 24)
    second = api.rows.claim(claim_id="abcdef01" + "0" * 24)
    assert api.json("/v1/claims/abcdef00")["id"] == first
    refused = api.get("/v1/claims/abcdef")
    assert refused.status_code == 409
    assert first in refused.json()["detail"]
    assert second in refused.json()["detail"]


def test_a_claim_that_does_not_exist_is_a_problem_that_says_so(api: RunningApi) -> None:
    refused = api.get("/v1/claims/0123456789")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json() == {
        "type": "urn:problem-type:reprofarm:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no claim 0123456789",
        "errors": [],
    }


def test_a_claim_whose_run_is_set_aside_says_whom_it_waits_for(api: RunningApi) -> None:
    claim_id = api.rows.planned(run={"reason": "waits for the farm's operator: it cannot be read", "set_aside": True})
    assert api.json(f"/v1/claims/{claim_id}")["next_step"] == "Waits for the farm's operator: it cannot be read."
