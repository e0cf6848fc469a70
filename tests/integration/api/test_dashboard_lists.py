"""Pages whose lists are cut say so, and lead on."""

from __future__ import annotations

import html
import re

import pytest

from scheduler.api import scores as points_of_api
from scheduler.dashboard import farm, scores
from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison

NAMES = re.compile(r"<th scope=\"row\" class=\"full\">(w\d)")


def _link(text: str, words: str) -> str | None:
    """Where the first link with these words leads."""
    found = re.search(rf'<a class="link" href="([^"]*)">{words}</a>', text)
    return html.unescape(found[1]) if found else None


def test_workers_that_need_somebody_come_first_and_the_list_goes_on(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = ("idle", "lost", "busy", "quarantined", "draining", "quarantined", "idle")
    for number, state in enumerate(states):
        api.rows.worker(f"w{number}", state=state)
    whole = api.get("/workers").text
    assert NAMES.findall(whole) == ["w3", "w5", "w1", "w0", "w2", "w4", "w6"]
    assert "First" not in whole
    assert _link(whole, "More") is None
    monkeypatch.setattr(farm, "SHOWN_WORKERS", 3)
    # What was answered before is remembered by its address.
    parts = [api.get("/workers", anew=1).text]
    while following := _link(parts[-1], "More"):
        parts.append(api.get(following).text)
    assert [NAMES.findall(part) for part in parts] == [["w3", "w5", "w1"], ["w0", "w2", "w4"], ["w6"]]
    assert all("of 7; those in quarantine first" in part for part in parts)
    assert _link(parts[-1], "First") == "/workers"
    assert api.get("/workers?cursor=w3").status_code == 400


@pytest.mark.parametrize("path", ["/benchmarks/acme/capitals", "/models/tiny/model"])
def test_measured_claims_are_counted_and_older_ones_follow(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(points_of_api, "POINTS_SHOWN", 2)
    api.rows.benchmark()
    decided = [api.rows.decided(Outcome.VERIFIED, found=comparison()) for _ in range(5)]
    parts = [api.get(path).text]
    while following := _link(parts[-1].partition("Its claims</h2>")[0], "Older"):
        parts.append(api.get(following).text)
    shown = [re.findall(r'data-page="/claims/(\w+)"', part) for part in parts]
    assert [sorted(part) for part in shown] == [sorted(decided[3:]), sorted(decided[1:3]), decided[:1]]
    assert "the newest 2 of 5 measured claims" in parts[0]
    assert "2 older ones of 5 measured claims" in parts[1]
    assert (_link(parts[-1], "Newest") or "").rstrip("?") == path


def test_a_models_claims_are_counted_and_older_ones_follow(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "SHOWN_CLAIMS", 2)
    states = (ClaimState.SUBMITTED, ClaimState.WITHDRAWN, ClaimState.SUBMITTED)
    oldest, *newer = (api.rows.claim(state=state) for state in states)
    first = api.get("/models/tiny/model").text
    following = _link(first, "Older")
    assert following is not None
    second = api.get(following).text
    shown = [re.findall(r'<th scope="row" class="full"><a href="/claims/(\w+)"', text) for text in (first, second)]
    assert shown == [newer[::-1], [oldest]]
    assert "the newest 2 of 3, 1 of all withdrawn" in first
    assert "1 older ones of 3, 1 of all withdrawn" in second
    assert _link(second, "Newest") == "/models/tiny/model?"
