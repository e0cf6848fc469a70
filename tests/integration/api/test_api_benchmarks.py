from __future__ import annotations

from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi


def test_benchmarks_count_their_living_claims_and_verdicts(api: RunningApi) -> None:
    api.rows.benchmark("acme/capitals")
    api.rows.benchmark("acme/rivers")
    api.rows.verified()
    api.rows.verified("other/model")
    api.rows.decided(Outcome.FAILED)
    api.rows.claim()
    api.rows.claim(state=ClaimState.WITHDRAWN, live=False)
    first, second = api.json("/v1/benchmarks")["items"]
    assert (first["id"], first["claims"], first["verdicts"]) == ("acme/capitals", 4, {"verified": 2, "failed": 1})
    assert (second["id"], second["claims"], second["verdicts"]) == ("acme/rivers", 0, {})


def test_benchmarks_are_paged_by_their_id(api: RunningApi) -> None:
    for name in ("c/c", "a/a", "b/b"):
        api.rows.benchmark(name)
    first = api.json("/v1/benchmarks", limit=2)
    second = api.json("/v1/benchmarks", limit=2, cursor=first["next"])
    assert [item["id"] for item in first["items"] + second["items"]] == ["a/a", "b/b", "c/c"]
    assert second["next"] is None
