from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from scheduler.api.live import count_cache
from scheduler.api.live.count_cache import CountCache
from scheduler.api.live.follower import Mark
from scheduler.api.routes import overview
from scheduler.database.tables import VerdictRow, now
from scheduler.state_machine import ClaimState, ReproductionState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi


def test_an_empty_farm_has_an_overview_of_zeros(api: RunningApi) -> None:
    found = api.json("/v1/overview")
    assert found["pools"] == []
    assert set(found["claims"].values()) == {0}
    assert len(found["days"]) == 30
    assert not any(found["needs_a_person"].values())
    assert "<dd>0</dd><dd>nothing does</dd>" in api.get("/").text


def test_it_says_what_waits_and_runs_in_each_pool(api: RunningApi) -> None:
    oldest = now() - timedelta(hours=2)
    api.rows.reproduction(pool="large", waits_since=oldest)
    api.rows.reproduction(pool="large", state=ReproductionState.DISPATCHED)
    api.rows.reproduction(pool="small", state=ReproductionState.RUNNING)
    api.rows.reproduction(pool="idle", state=ReproductionState.COMPLETED)
    api.rows.reproduction(pool="large", created_at=now() - timedelta(hours=1))
    large, small = api.json("/v1/overview")["pools"]
    assert (large["pool"], large["queued"], large["dispatched"], large["running"]) == ("large", 2, 1, 0)
    assert large["oldest_wait_seconds"] >= 7200
    assert (small["pool"], small["running"], small["oldest_wait_seconds"]) == ("small", 1, None)


def test_the_longest_wait_is_of_what_could_be_run_since_it_waits_as_the_metric_has_it(api: RunningApi) -> None:
    at = now()
    old: dict[str, Any] = {
        "pool": "large",
        "created_at": at - timedelta(hours=9),
        "waits_since": at - timedelta(hours=8),
    }
    api.rows.reproduction(**{**old, "waits_since": at - timedelta(hours=1)})
    api.rows.reproduction(**old, set_aside=True)
    api.rows.reproduction(**old, not_before=at + timedelta(hours=1))
    api.rows.reproduction(**{**old, "pool": "small"}, set_aside=True)
    large, small = api.json("/v1/overview")["pools"]
    assert large["queued"] == 3
    assert 3600 <= large["oldest_wait_seconds"] < 7200
    assert (small["queued"], small["oldest_wait_seconds"]) == (1, None)


def test_the_page_counts_all_that_waits_and_says_since_when_or_for_what_it_does(api: RunningApi) -> None:
    api.rows.reproduction(set_aside=True)
    assert "<dt>Waiting</dt><dd>1</dd><dd>for another try or the operator</dd>" in api.get("/").text
    at = now() - timedelta(hours=2)
    api.rows.reproduction(state=ReproductionState.DISPATCHED, waits_since=at)
    assert "<dt>Waiting</dt><dd>2</dd><dd>the oldest for 2 h</dd>" in api.get("/").text


def test_verdicts_are_counted_by_outcome_and_day(api: RunningApi) -> None:
    decided = [api.rows.decided(Outcome.VERIFIED) for _ in range(3)] + [api.rows.decided(Outcome.MISMATCH)]
    for claim_id, days in zip(decided, (0, 3, 40, 0), strict=True):
        with api.rows.database.transaction() as session:
            session.get_one(VerdictRow, claim_id).decided_at = now() - timedelta(days=days)
    found = api.json("/v1/overview")
    assert (found["verdicts"]["verified"], found["verdicts"]["mismatch"]) == (3, 1)
    assert (found["verdicts_7_days"]["verified"], found["verdicts_today"]["verified"]) == (2, 1)
    assert [day["verdicts"]["verified"] for day in found["days"][-4:]] == [1, 0, 0, 1]
    assert [item["claim_id"] for item in found["verified_today"]] == [decided[0]]


def test_it_lists_what_needs_a_person(api: RunningApi) -> None:
    for number in range(25):
        api.rows.claim(f"m/{number}", state=ClaimState.BLOCKED, reason="gated" if number % 5 else "no pool big enough")
    claim_id = api.rows.verified()
    api.rows.publication(claim_id, tries=2, reason="the Hub refuses")
    found = api.json("/v1/overview")["needs_a_person"]
    assert [item["model"] for item in found["blocked"]] == [f"m/{number}" for number in range(24, 4, -1)]
    groups = [(group["reason"], group["claims"]) for group in found["blocked_by_reason"]]
    assert groups == [("gated", 20), ("no pool big enough", 5)]
    assert [(item["claim_id"], item["tries"], item["reason"]) for item in found["unpublished"]] == [
        (claim_id, 2, "the Hub refuses")
    ]


def test_all_that_need_a_person_are_counted_however_many_are_listed(api: RunningApi) -> None:
    for number in range(22):
        api.rows.worker(f"w{number:02}", state="quarantined", reason="GPU 0 is in use")
    for _ in range(21):
        api.rows.publication(api.rows.verified(), tries=1, reason="the Hub refuses")
    api.rows.publication(api.rows.verified())
    needs = api.json("/v1/overview")["needs_a_person"]
    assert (len(needs["quarantined"]), needs["workers_quarantined"]) == (20, 22)
    assert (len(needs["unpublished"]), needs["verdicts_unpublished"]) == (20, 21)
    text = api.get("/").text
    assert "<dt>Needs a person</dt><dd>43</dd><dd>see below</dd>" in text
    assert "2 more quarantined" in text
    assert "1 more unpublished" in text


def test_the_page_has_each_reason_for_which_claims_are_blocked_once(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        api.rows.claim(f"m/{number}", state=ClaimState.BLOCKED, reason="no pool big enough" if number == 0 else "gated")
    text = api.get("/").text
    assert [text.count(f">{reason}</p>") for reason in ("gated", "no pool big enough")] == [1, 1]
    assert ">m/24</a> and 23 more</span>" in text
    # Its model is no longer among the newest that are blocked.
    assert ">the newest</a></span>" in text
    assert "blocked claims." not in text
    monkeypatch.setattr(overview, "GROUPED", 10)
    text = api.get("/", anew=1).text
    assert ">m/24</a> and 9 more</span>" in text
    assert "These are 10 of 25 blocked claims." in text


def test_a_dear_count_is_taken_seldom_and_says_when_it_may_be_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_cache, "CHEAP_SECONDS", 0.9)
    time = [0.0]
    counts = CountCache(lambda: time[0])

    def count() -> float:
        time[0] += 1.0
        return time[0]

    first = counts.get(("all",), Mark("a", 1, 0), count)
    assert (first.value, first.current) == (1.0, True)
    assert counts.get(("all",), Mark("a", 1, 0), count).current
    later = counts.get(("all",), Mark("b", 2, 0), count)
    assert (later.value, later.current, later.due) == (1.0, False, 21.0)
    time[0] += 20.0
    assert counts.get(("all",), Mark("b", 2, 0), count).value == 22.0
