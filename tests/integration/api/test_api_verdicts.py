from __future__ import annotations

from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison


def test_verdicts_are_listed_newest_first_with_what_they_are_about(api: RunningApi) -> None:
    api.rows.claim("undecided/model")
    old = api.rows.decided(Outcome.MISMATCH, "a/a", comparison(0.2))
    new = api.rows.decided(Outcome.UNSUPPORTED, "b/b", task_id="asia")
    items = api.json("/v1/verdicts")["items"]
    assert [item["claim_id"] for item in items] == [new, old]
    assert (items[0]["model"], items[0]["task"], items[0]["comparison"], items[0]["reproduction_id"]) == (
        "b/b",
        "asia",
        None,
        None,
    )
    assert items[1]["comparison"]["reproduced"] == 0.2
    assert (items[0]["claimed"], items[1]["claimed"]) == (None, 0.412)
    assert items[1]["reproduction_id"] == api.rows.run_of(old)


def test_what_was_claimed_is_told_where_nothing_was_measured_too(api: RunningApi) -> None:
    api.rows.decided(Outcome.FAILED, rules={"claimed": 0.52})
    assert [(item["claimed"], item["comparison"]) for item in api.json("/v1/verdicts")["items"]] == [(0.52, None)]
    assert "52.00" in api.get("/").text


def test_verdicts_can_be_filtered_and_paged(api: RunningApi) -> None:
    wanted = [api.rows.decided(Outcome.FAILED, f"m/{number}") for number in range(3)]
    api.rows.decided(Outcome.UNSUPPORTED)
    first = api.json("/v1/verdicts", outcome="failed", limit=2)
    second = api.json("/v1/verdicts", outcome="failed", limit=2, cursor=first["next"])
    assert [item["claim_id"] for item in first["items"] + second["items"]] == wanted[::-1]
    assert second["next"] is None
    assert [item["claim_id"] for item in api.json("/v1/verdicts", model="m/1")["items"]] == [wanted[1]]
