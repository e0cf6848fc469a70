from __future__ import annotations

from scheduler.state_machine import ReproductionState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison, measurement


def test_a_reproduction_shows_all_its_attempts_in_order(api: RunningApi) -> None:
    api.rows.running("other/model")
    claim_id = api.rows.running("tiny/model")
    run = api.json(f"/v1/reproductions/{api.rows.run_of(claim_id)}")
    assert [(attempt["number"], attempt["outcome"]) for attempt in run["attempts"]] == [
        (1, "engine_failed"),
        (2, None),
    ]
    assert run["attempts"][0]["detail"] == "the engine died"
    assert run["samples_done"] == 120
    assert run["claims"] == [claim_id]
    assert run["measurement"] is None


def test_a_completed_one_shows_what_it_measured_without_the_samples(api: RunningApi) -> None:
    claim_id = api.rows.decided(Outcome.VERIFIED, found=comparison())
    run = api.json(f"/v1/reproductions/{api.rows.run_of(claim_id)[:10]}")
    found = run["measurement"]
    assert (found["score"], found["samples_used"], found["failed"], found["population"]) == (
        measurement().score,
        3,
        1,
        300,
    )
    assert found["circumstances"]["generation"]["temperature"] == 0.0
    assert "sample_scores" not in found


def test_several_claims_on_one_reproduction_are_all_named(api: RunningApi) -> None:
    first = api.rows.planned()
    second = api.rows.claim(state="planned", reproduction_id=api.rows.run_of(first))
    assert api.json(f"/v1/reproductions/{api.rows.run_of(first)}")["claims"] == [first, second]


def test_reproductions_are_listed_newest_first_with_filters_and_cursor(api: RunningApi) -> None:
    old = api.rows.reproduction("a/a")
    middle = api.rows.reproduction("b/b", pool="h100", state=ReproductionState.RUNNING, attempt=1)
    api.rows.attempt(middle, 1, samples_done=5, stage="running")
    new = api.rows.reproduction("c/c", task_id=None, dataset_id="acme/rivers")
    first = api.json("/v1/reproductions", limit=2)
    assert [run["id"] for run in first["items"]] == [new, middle]
    second = api.json("/v1/reproductions", limit=2, cursor=first["next"])
    assert ([run["id"] for run in second["items"]], second["next"]) == ([old], None)
    assert first["items"][1]["samples_done"] == 5
    for name, value, wanted in (
        ("model", "a/a", old),
        ("pool", "h100", middle),
        ("state", "running", middle),
        ("dataset", "acme/rivers", new),
    ):
        assert [run["id"] for run in api.json("/v1/reproductions", **{name: value})["items"]] == [wanted], name


def test_a_list_and_a_single_look_agree_on_places_in_the_queue(api: RunningApi) -> None:
    for number in range(6):
        api.rows.reproduction(priority=30 - number % 3, pool="small" if number == 4 else "cpu")
    api.rows.reproduction(state=ReproductionState.DISPATCHED)
    api.rows.reproduction(state=ReproductionState.COMPLETED)
    listed = {each["id"]: each["queue_position"] for each in api.json("/v1/reproductions")["items"]}
    assert sorted(place for place in listed.values() if place is not None) == [1, 1, 2, 3, 4, 5, 6]
    for reproduction_id, place in listed.items():
        assert api.json(f"/v1/reproductions/{reproduction_id}")["queue_position"] == place
