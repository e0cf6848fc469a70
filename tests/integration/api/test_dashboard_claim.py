"""What a claim's page tells its author, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from scheduler.api.callers.callers import Caller, anonymous
from scheduler.badges import revoking
from scheduler.dashboard import claims
from scheduler.dashboard.claims import actions
from scheduler.dashboard.visitor import Visitor
from scheduler.requests.intervening import cancel
from scheduler.state_machine import ClaimState, ReproductionState
from specs.api_v1.claims import ClaimView
from specs.judging.verdict import Outcome
from specs.messages import Stage
from tests.support.api import RunningApi, running_api
from tests.support.callers import signed_in
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.rows import comparison

MARKDOWN = "[![reproduced]("
VISITOR = Visitor(anonymous(public_reading=True), may_sign_in=False)


OPERATOR = Visitor(
    Caller("session", "hub:ada", "ada", frozenset({"read", "request", "operate"}), namespaces=None), may_sign_in=True
)


databases = mostly_sqlite


def offered(
    api: RunningApi,
    claim_id: str,
    visitor: Visitor = VISITOR,
    *,
    awaits_approval: bool = False,
    publishes: bool = False,
) -> list[str]:
    """What a visitor's buttons say."""
    claim = ClaimView.model_validate(api.json(f"/v1/claims/{claim_id}"))
    may = {"may_retry": True, "may_cancel": True}
    found = actions(claim, visitor, awaits_approval=awaits_approval, publishes=publishes, **may)
    return [each.words for each in found]


def page(api: RunningApi, claim_id: str) -> str:
    answer = api.get(f"/claims/{claim_id}")
    assert answer.status_code == 200
    return " ".join(answer.text.split())


def test_a_claim_is_not_shown_with_the_badge_that_another_one_has(api: RunningApi) -> None:
    authors = api.rows.verified()
    proposed = api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), ref="refs/pr/7", pull_request=7)
    assert MARKDOWN in page(api, authors)
    shown = page(api, proposed)
    assert MARKDOWN not in shown
    assert (
        f'is about another claim: “verified 2026-03-01: 41.5% on 200/300”, of <a class="link" href="/claims/{authors}"'
        in shown
    )


@ON_BOTH
def test_a_long_history_shows_its_end(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "SHOWN_EVENTS", 3)
    claim_id = api.rows.claim()
    for number in range(4):
        api.rows.event("claim", claim_id, "blocked", f"why number {number}")
    shown = page(api, claim_id)
    assert "the last 3 events" in shown
    assert [f"why number {number}" in shown for number in range(4)] == [False, True, True, True]
    assert shown.index("why number 3") < shown.index("why number 2")


def test_what_was_claimed_and_run_is_said_with_its_unit_and_linked_to_the_hub_at_its_commits(api: RunningApi) -> None:
    claim_id = api.rows.decided(Outcome.MISMATCH, found=comparison(0.2))
    claim = api.json(f"/v1/claims/{claim_id}")
    run = claim["reproduction"]
    shown, hub = page(api, claim_id), api.settings.hub_endpoint
    assert "written as 41.2, in percent (by the leaderboard)" in shown
    assert f'href="{hub}/tiny/model/blob/{claim["commit"]}/.eval_results/capitals.yaml"' in shown
    assert f'href="{hub}/tiny/model/tree/{run["model_revision"]}"' in shown
    assert f'href="{hub}/datasets/acme/capitals/tree/{run["dataset_revision"]}"' in shown


def test_who_cannot_act_here_is_told_where_a_comment_is_heard_and_else_who_can_help(api: RunningApi) -> None:
    proposed = api.rows.decided(Outcome.MISMATCH, found=comparison(0.2), ref="refs/pr/7", pull_request=7)
    thread = f'<a class="link" href="{api.settings.hub_endpoint}/tiny/model/discussions/7"'
    assert "<code>/reverify</code>" in page(api, proposed)
    assert thread in page(api, proposed)
    unwritten = page(api, api.rows.decided(Outcome.MISMATCH, found=comparison(0.2)))
    assert "/reverify" not in unwritten
    assert "Its operator can run a claim again" in unwritten


@pytest.mark.parametrize(("outcome", "first"), [(Outcome.FAILED, "Try again"), (Outcome.MISMATCH, "Verify again")])
def test_what_failed_is_tried_again_and_what_was_measured_verified_again(
    api: RunningApi, outcome: Outcome, first: str
) -> None:
    assert offered(api, api.rows.decided(outcome)) == [first]


def test_an_approval_is_asked_for_only_where_a_claim_waits_for_one(api: RunningApi) -> None:
    claim_id = api.rows.claim(state=ClaimState.BLOCKED, gpu_seconds=700.0)
    assert offered(api, claim_id, OPERATOR) == ["Try again"]
    assert offered(api, claim_id, OPERATOR, awaits_approval=True) == ["Approve", "Try again"]
    assert offered(api, claim_id, VISITOR, awaits_approval=True) == ["Try again"]


def test_only_a_farm_that_publishes_offers_to(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    assert offered(api, claim_id) == ["Verify again"]
    assert offered(api, claim_id, publishes=True) == ["Verify again", "Publish"]


def test_a_stale_verdict_is_verified_again_and_not_published(api: RunningApi) -> None:
    claim_id = api.rows.verified(stale_reason="the model's files changed since")
    assert offered(api, claim_id, publishes=True) == ["Verify again"]
    assert "<strong>Next:</strong> Its verdict is stale" in page(api, claim_id)
    api.rows.publication(claim_id, state="published", number=4)
    assert "can merge it" not in page(api, claim_id)
    revoking.revoke(api.rows.database, claim_id, "its log was made up", "operator:test")
    assert "<strong>Next:</strong> Its badge is revoked" in page(api, claim_id), "that is the weightier"


@ON_BOTH
def test_a_revoked_badge_is_neither_offered_nor_shown_as_good(api: RunningApi) -> None:
    claim_id = api.rows.verified()
    assert "badge revoked" not in api.get("/claims").text
    revoking.revoke(api.rows.database, claim_id, "its log was made up", "operator:test")
    assert offered(api, claim_id, publishes=True) == ["Verify again"]
    shown = page(api, claim_id)
    assert 'class="callout revoked"' in shown
    assert "<strong>Next:</strong> Its badge is revoked and does not count: its log was made up." in shown
    assert all("badge revoked" in api.get(address).text for address in ("/claims", "/models/tiny/model"))


def test_a_page_reads_what_its_claim_waits_for(tmp_path: Path) -> None:
    with running_api(tmp_path, operators=("ada",)) as api:
        waits = api.rows.claim(state=ClaimState.BLOCKED, gpu_seconds=700.0, awaits_approval=True)
        gated = api.rows.claim(state=ClaimState.BLOCKED, gpu_seconds=700.0)
        ada = signed_in(api, "ada")
        shown = [httpx2.get(f"{api.url}/claims/{claim_id}", headers=ada).text for claim_id in (waits, gated)]
    assert [f"/v1/claims/{claim_id}/approve" in text for claim_id, text in zip((waits, gated), shown, strict=True)] == [
        True,
        False,
    ]
    assert all("/retry" in text for text in shown)


def test_only_who_may_have_it_tried_again_is_offered_what_was_cancelled(tmp_path: Path) -> None:
    with running_api(tmp_path, operators=("ada",)) as api:
        by_operator, by_maintainer = api.rows.planned(), api.rows.planned()
        cancel(api.rows.database, by_operator, "a poisoned model", "operator:eve")
        cancel(api.rows.database, by_maintainer, "not yet", "hub:tim", operates=False)
        people = [signed_in(api, "ada"), signed_in(api, "tim", "tiny")]
        offers = {
            claim_id: [
                f'"/v1/claims/{claim_id}/retry"' in httpx2.get(f"{api.url}/claims/{claim_id}", headers=who).text
                for who in people
            ]
            for claim_id in (by_operator, by_maintainer)
        }
    assert offers == {by_operator: [True, False], by_maintainer: [True, True]}


def test_a_run_is_offered_to_be_cancelled_to_whom_the_api_lets(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        claim_id = api.rows.planned()
        ours, benchmarks = signed_in(api, "tim", "tiny"), signed_in(api, "ann", "acme")
        shown = [httpx2.get(f"{api.url}/claims/{claim_id}", headers=who).text for who in (ours, benchmarks)]
    assert [f'"/v1/claims/{claim_id}/cancel"' in text for text in shown] == [True, False]


@pytest.mark.parametrize("another_waits", [False, True])
def test_a_run_that_goes_to_its_end_is_offered_to_be_cancelled_to_operators_alone(
    tmp_path: Path, *, another_waits: bool
) -> None:
    with running_api(tmp_path, operators=("ada",)) as api:
        same: dict[str, Any] = {"key": "5" * 64, "weights_sha256": "6" * 64, "seed": 7, "joinable": False}
        before = api.rows.reproduction(state=ReproductionState.CANCELLED, **same)
        api.rows.attempt(before, 1, stage=Stage.RUNNING)
        claim_id = api.rows.planned(run={"state": ReproductionState.RUNNING, "attempt": 1, **same})
        api.rows.attempt(api.rows.run_of(claim_id), 1, stage=Stage.RUNNING)
        if another_waits:
            api.rows.claim(state=ClaimState.PLANNED, reproduction_id=api.rows.run_of(claim_id))
        people = [signed_in(api, "ada"), signed_in(api, "tim", "tiny")]
        shown = [httpx2.get(f"{api.url}/claims/{claim_id}", headers=who).text for who in people]
        taken = httpx2.post(f"{api.url}/v1/claims/{claim_id}/cancel", headers=people[1], json={"why": "it goes badly"})
    assert [f'"/v1/claims/{claim_id}/cancel"' in text for text in shown] == [True, another_waits]
    assert taken.status_code == (200 if another_waits else 409)


def test_what_is_withdrawn_is_not_offered_to_be_published(api: RunningApi) -> None:
    claim_id = api.rows.verified(state=ClaimState.WITHDRAWN)
    assert offered(api, claim_id, publishes=True) == []


@ON_BOTH
def test_fewer_samples_than_the_run_scored_are_explained(api: RunningApi) -> None:
    found = comparison().model_copy(update={"samples_used": 3, "failed": 0})
    shown = page(api, api.rows.decided(Outcome.MISMATCH, found=found))
    assert "3 scored samples, in random order" in shown
    assert "This claim had its answer after 3 samples, and those decided. The run went on to 4" in shown
    assert "2 more were in flight when the run stopped" in shown
