"""What a maintainer and an operator have done through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from scheduler.database.tables import Badge, Benchmark, Claim, Event, OutboxRow, Publication, now
from scheduler.requests.intervening import cancel
from scheduler.requests.publication import request_publication
from scheduler.requests.requesting import LOOK_AT_WANTED
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.verdict import Outcome
from specs.policy.publish import PublishRules
from tests.support.api import RunningApi, running_api
from tests.support.callers import OPERATOR, Headers, signed_in, token


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\npublish: {mode: comment}\n")
    with running_api(tmp_path, policy=policy, operators=("id:id-of-olga",)) as found:
        yield found


@pytest.fixture
def tim(api: RunningApi) -> Headers:
    """The maintainer of tiny/model."""
    return signed_in(api, "tim", "tiny")


def act(api: RunningApi, path: str, headers: Headers, status: int = 200, **asked: object) -> Any:
    answer = httpx2.post(api.url + path, headers=headers, json={"why": "because", **asked}, timeout=60)
    assert answer.status_code == status, answer.text
    return answer.json()


def last_event(api: RunningApi, subject_id: str) -> tuple[str, str, str]:
    with api.rows.database.reading() as session:
        event = session.scalars(select(Event).where(Event.subject_id == subject_id).order_by(Event.event_id)).all()[-1]
    return event.actor, event.what, event.why


def state_of(api: RunningApi, claim_id: str) -> ClaimState:
    with api.rows.database.reading() as session:
        return ClaimState(session.get_one(Claim, claim_id).state)


def test_a_maintainer_cancels_and_retries_what_is_to_be_run_for_their_model(api: RunningApi, tim: Headers) -> None:
    claim_id = api.rows.planned()
    done = act(api, f"/v1/claims/{claim_id[:10]}/cancel", tim)
    assert done["claim_ids"] == [claim_id]
    actor, what, why = last_event(api, claim_id)
    assert (actor, what) == ("hub:tim", "blocked")
    assert why.startswith("cancelled by hub:tim: because")
    act(api, f"/v1/claims/{claim_id}/retry", tim)
    assert last_event(api, claim_id)[:2] == ("hub:tim", "submitted")


@pytest.mark.parametrize("canceller", [OPERATOR, "hub:olga"])
def test_what_an_operator_cancelled_a_maintainer_cannot_bring_back(
    api: RunningApi, tim: Headers, canceller: str
) -> None:
    claim_id = api.rows.planned()
    if canceller == OPERATOR:
        cancel(api.rows.database, claim_id, "a poisoned model", OPERATOR)
    else:
        act(api, f"/v1/claims/{claim_id}/cancel", signed_in(api, "olga"))
    assert last_event(api, claim_id)[0] == canceller
    problem = act(api, f"/v1/claims/{claim_id}/retry", tim, 403)
    assert f"cancelled by {canceller}" in problem["detail"]
    # Nor by cancelling it too, which would make it theirs to bring back.
    assert f"cancelled by {canceller}" in act(api, f"/v1/claims/{claim_id}/cancel", tim, 403)["detail"]
    act(api, f"/v1/claims/{claim_id}/retry", tim, 403)
    done = act(api, "/v1/verifications", tim, 202, model="tiny/model", dataset="acme/capitals")
    assert state_of(api, claim_id) is ClaimState.BLOCKED, done
    act(api, f"/v1/claims/{claim_id}/retry", token(api, "ops", "operate"))
    assert state_of(api, claim_id) is ClaimState.SUBMITTED


def test_who_keeps_a_benchmark_asks_for_runs_but_takes_back_only_their_own(api: RunningApi) -> None:
    ann = signed_in(api, "ann", "acme")
    claim_id = api.rows.planned()
    problem = act(api, f"/v1/claims/{claim_id}/cancel", ann, 403)
    assert "not asked for by you" in problem["detail"]
    failed = api.rows.decided(Outcome.FAILED)
    again = act(api, f"/v1/claims/{failed}/retry", ann)["claim_ids"][0]
    assert again != failed
    assert act(api, f"/v1/claims/{again}/cancel", ann)["claim_ids"] == [again]


def test_who_submitted_a_claim_takes_it_back_without_owning_the_model(api: RunningApi) -> None:
    claim_id = api.rows.planned("big/model", pull_request=3, ref="refs/pr/3", submitter="fan")
    api.rows.event("claim", claim_id, "submitted", actor="hub:fan")
    act(api, f"/v1/claims/{claim_id}/cancel", signed_in(api, "other"), 403)
    act(api, f"/v1/claims/{claim_id}/cancel", signed_in(api, "fan"))


def test_a_run_that_others_share_is_not_one_maintainers_to_cancel(api: RunningApi, tim: Headers) -> None:
    claim_id = api.rows.planned()
    run = api.rows.run_of(claim_id)
    api.rows.claim("other/model", state=ClaimState.PLANNED, reproduction_id=run, dataset_id="others/bench")
    act(api, f"/v1/reproductions/{run}/cancel", tim, 403)
    # For their own claim alone they can, and the run goes on.
    done = act(api, f"/v1/claims/{claim_id}/cancel", tim)
    assert "goes on for 1 other" in " ".join(done["lines"])
    act(api, f"/v1/reproductions/{run}/cancel", token(api, "ops", "operate"))
    assert api.json(f"/v1/reproductions/{run}")["state"] == ReproductionState.CANCELLED


def test_a_run_of_which_an_operator_holds_a_claim_is_still_its_maintainers_to_cancel(
    api: RunningApi, tim: Headers
) -> None:
    held = api.rows.planned()
    run = api.rows.run_of(held)
    waiting = api.rows.claim("tiny/model", state=ClaimState.PLANNED, reproduction_id=run)
    cancel(api.rows.database, held, "a poisoned model", OPERATOR)
    done = act(api, f"/v1/reproductions/{run}/cancel", tim)
    assert "is cancelled" in done["lines"][0]
    assert (last_event(api, held)[0], last_event(api, waiting)[0]) == (OPERATOR, "hub:tim")
    act(api, f"/v1/claims/{held}/retry", tim, 403)


def test_what_cannot_be_done_is_a_conflict_with_its_reason(api: RunningApi, tim: Headers) -> None:
    verified = api.rows.verified()
    retried = act(api, f"/v1/claims/{verified}/retry", tim, 409)["detail"]
    assert "which stands" in retried
    assert "reprofarm reverify" in retried
    assert "nothing is to be run" in act(api, f"/v1/claims/{verified}/cancel", tim, 409)["detail"]
    act(api, "/v1/claims/012345abc/cancel", tim, 404)
    act(api, f"/v1/claims/{verified}/cancel", tim, 422, why="")
    act(api, f"/v1/claims/{verified}/cancel", tim, 422, why="\u202e")
    act(api, f"/v1/claims/{verified}/cancel", tim, 422, why="x" * 1001)
    act(api, f"/v1/claims/{verified}/cancel", tim, 422, force=True)


def test_an_operator_approves_under_their_own_name(api: RunningApi) -> None:
    claim_id = api.rows.claim(state=ClaimState.BLOCKED, gpu_seconds=5000.0, awaits_approval=True)
    operator = token(api, "ops", "operate")
    done = act(api, f"/v1/claims/{claim_id}/approve", operator, over_budget=True)
    assert "5,000 GPU-seconds" in done["lines"][0]
    with api.rows.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        actors = set(session.scalars(select(Event.actor).where(Event.subject_id == claim_id)))
    assert (claim.approved_over_budget, claim.state) == (True, ClaimState.SUBMITTED)
    assert actors == {"token:ops"}
    act(api, f"/v1/claims/{claim_id}/approve", signed_in(api, "tim", "tiny"), 403)


def test_a_maintainer_has_a_badge_published_that_was_left_out_or_failed(api: RunningApi, tim: Headers) -> None:
    claim_id = api.rows.verified()
    act(api, f"/v1/claims/{claim_id}/publish", tim)
    with api.rows.database.transaction() as session:
        row = session.get_one(Publication, claim_id)
        assert row.state == "pending"
        row.due_at, row.tries, row.reason = None, 4, "the Hub was away"
    act(api, f"/v1/claims/{claim_id}/publish", tim)
    with api.rows.database.transaction() as session:
        row = session.get_one(Publication, claim_id)
        assert row.due_at is not None
        row.state, row.url = "published", "http://hub/1"
    assert "http://hub/1" in act(api, f"/v1/claims/{claim_id}/publish", tim, 409)["detail"]
    assert last_event(api, claim_id)[:2] == ("hub:tim", "publication_asked")
    revoked = api.rows.verified()
    with api.rows.database.transaction() as session:
        session.get_one(Badge, revoked).revoked_at = now()
    assert "revoked" in act(api, f"/v1/claims/{revoked}/publish", tim, 409)["detail"]
    act(api, f"/v1/claims/{api.rows.decided(Outcome.MISMATCH)}/publish", tim, 409)


def test_what_is_stale_is_not_newly_published_as_that_would_end_in_being_withdrawn(
    api: RunningApi, tim: Headers
) -> None:
    claim_id = api.rows.verified(stale_reason="the model's files changed since")
    refused = act(api, f"/v1/claims/{claim_id}/publish", tim, 409)["detail"]
    assert "stale (the model's files changed since): have it verified again" in refused
    with api.rows.database.transaction() as session:
        assert session.get(Publication, claim_id) is None
        session.get_one(Claim, claim_id).stale_reason = None
    act(api, f"/v1/claims/{claim_id}/publish", tim)


@pytest.mark.parametrize(("pull_request", "how"), [(None, "a pull request"), (7, "a comment")])
def test_how_a_badge_is_written_is_said_as_it_will_be(api: RunningApi, pull_request: int | None, how: str) -> None:
    ref = "main" if pull_request is None else f"refs/pr/{pull_request}"
    claim_id = api.rows.verified(pull_request=pull_request, ref=ref)
    (said,) = request_publication(api.rows.database, PublishRules(mode="pull_request"), claim_id, "because", OPERATOR)
    assert f"written on the Hub as {how} in" in said


def test_a_farm_that_publishes_nothing_says_so(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        problem = act(api, f"/v1/claims/{api.rows.verified()}/publish", token(api, "ops", "operate"), 409)
    assert "publishes nothing" in problem["detail"]


def test_a_model_that_the_farm_does_not_know_is_looked_at_first(api: RunningApi, tim: Headers) -> None:
    done = act(api, "/v1/verifications", tim, 202, model="tiny/new", dataset="acme/capitals", task="europe")
    assert "looks at it on the Hub first" in done["lines"][0]
    assert "not among the benchmarks" in done["lines"][-1]
    with api.rows.database.reading() as session:
        message = session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_WANTED)).one()
    assert (message.body["actor"], message.body["request"]["model"]) == ("hub:tim", "tiny/new")
    assert last_event(api, "tiny/new")[:2] == ("hub:tim", "requested")


def test_a_request_names_a_model_or_benchmark_of_whoever_asks(api: RunningApi, tim: Headers) -> None:
    problem = act(api, "/v1/verifications", tim, 403, model="big/model", dataset="acme/capitals")
    assert "you act for the namespaces tim, tiny" in problem["detail"]
    for wrong in ({"model": "tiny"}, {"model": "tiny/../x"}, {"task": "a\nb"}, {"revision": "HEAD^{/x}"}):
        act(api, "/v1/verifications", tim, 422, **{"model": "tiny/model", "dataset": "acme/capitals", **wrong})


def test_a_benchmark_that_nobody_watches_speaks_for_no_model(api: RunningApi) -> None:
    ann = signed_in(api, "ann", "acme")
    asked = {"model": "big/model", "dataset": "acme/capitals"}
    said = "acme/capitals is yours, but not among the benchmarks that this farm watches just now"
    refused = act(api, "/v1/verifications", ann, 403, **asked)["detail"]
    assert "this asks for big: " in refused
    assert said in refused
    api.rows.benchmark()
    with api.rows.database.transaction() as session:
        session.get_one(Benchmark, "acme/capitals").unlisted_at = now()
    assert said in act(api, "/v1/verifications", ann, 403, **asked)["detail"]
    tim = signed_in(api, "tim", "tiny")
    assert said not in act(api, "/v1/verifications", tim, 403, **asked)["detail"], "it is none of theirs"
    with api.rows.database.transaction() as session:
        session.get_one(Benchmark, "acme/capitals").unlisted_at = None
    act(api, "/v1/verifications", ann, 202, **asked)
    with api.rows.database.reading() as session:
        message = session.scalars(select(OutboxRow).where(OutboxRow.task == LOOK_AT_WANTED)).one()
    assert message.body["speaks_for_model"] is False, "nor does one that is watched open a private model"


def test_a_badge_that_is_not_there_cannot_be_revoked(api: RunningApi) -> None:
    ops = token(api, "ops", "operate")
    act(api, "/v1/badges/nobody/revoke", ops, 422)
    problem = act(api, f"/v1/badges/{'0' * 32}/revoke", ops, 404)
    assert problem["type"] == "urn:problem-type:reprofarm:not-found"
