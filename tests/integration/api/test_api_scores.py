from __future__ import annotations

import hashlib

import pytest

from scheduler.api import scores
from scheduler.database.tables import Benchmark, SpecFile
from scheduler.state_machine import ClaimState
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi
from tests.support.rows import comparison


def test_a_benchmark_shows_its_spec_and_how_each_task_came_out(api: RunningApi) -> None:
    api.rows.benchmark("acme/capitals")
    with api.rows.database.transaction() as session:
        revision = session.get_one(Benchmark, "acme/capitals").revision
        session.add(SpecFile(dataset_id="acme/capitals", revision=revision, text=b"name: \xffx"))
    for model in ("a/1", "a/2"):
        api.rows.verified(model)
    off = api.rows.decided(Outcome.MISMATCH, "b/1", comparison(0.2))
    api.rows.decided(Outcome.FAILED, "b/2")
    api.rows.decided(Outcome.INCONCLUSIVE, "b/3", comparison(), task_id="asia")
    api.rows.verified("c/1", state=ClaimState.WITHDRAWN, live=False)
    api.rows.verified("d/1", dataset_id="acme/rivers")
    found = api.json("/v1/benchmarks/acme/capitals")
    assert found["spec"] == {
        "revision": revision,
        "sha256": hashlib.sha256(b"name: \xffx").hexdigest(),
        "text": "name: �x",
    }
    assert (found["claims"], found["match_rate"]) == (5, 2 / 3)
    europe, asia = found["tasks"]
    assert (europe["task"], europe["claims"], europe["match_rate"]) == ("europe", 4, 2 / 3)
    assert europe["verdicts"] == {"verified": 2, "mismatch": 1, "failed": 1}
    assert [point["model"] for point in europe["points"]] == ["b/1", "a/2", "a/1"]
    assert (europe["points"][0]["claim_id"], europe["points"][0]["reproduced"]) == (off, 0.2)
    assert (asia["task"], asia["match_rate"], len(asia["points"])) == ("asia", None, 1)


def test_claims_on_tasks_that_there_are_not_push_aside_nothing_that_was_measured(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "TASKS_SHOWN", 3)
    monkeypatch.setattr(scores, "POINTS_SHOWN", 3)
    api.rows.benchmark("acme/capitals")
    for _ in range(2):
        api.rows.verified("a/model", task_id="twice, and before")
    for task_id in ("asia", "europe", "africa"):
        api.rows.verified("a/model", task_id=task_id)
    for made_up in range(3):
        for n in range(3):
            api.rows.decided(Outcome.UNSUPPORTED, "b/model", task_id=f"made up {made_up}", notes=f"variant {n}")
    found = api.json("/v1/benchmarks/acme/capitals")
    assert [(task["task"], len(task["points"])) for task in found["tasks"]] == [
        ("africa", 1),
        ("asia", 1),
        ("europe", 1),
    ]
    assert "3 of 5" in api.get("/benchmarks/acme/capitals").text
    monkeypatch.setattr(scores, "TASKS_SHOWN", 5)
    found = api.json("/v1/benchmarks/acme/capitals")
    assert [task["task"] for task in found["tasks"]][3:] == ["twice, and before", "made up 0"]


def test_a_model_shows_its_claims_by_benchmark_and_task(api: RunningApi) -> None:
    api.rows.verified("tiny/model")
    api.rows.decided(Outcome.MISMATCH, "tiny/model", comparison(0.2), dataset_id="acme/rivers")
    api.rows.claim("tiny/model", state=ClaimState.BLOCKED)
    api.rows.claim("tiny/model", state=ClaimState.WITHDRAWN, live=False)
    api.rows.verified("other/model")
    found = api.json("/v1/models/tiny/model")
    assert {state: number for state, number in found["claims"].items() if number} == {
        "decided": 2,
        "blocked": 1,
        "withdrawn": 1,
    }
    assert [(task["dataset"], task["claims"], len(task["points"])) for task in found["tasks"]] == [
        ("acme/capitals", 2, 1),
        ("acme/rivers", 1, 1),
    ]
    assert found["match_rate"] == 0.5


def test_ids_without_a_namespace_have_their_page_too(api: RunningApi) -> None:
    api.rows.benchmark("squad")
    api.rows.claim("gpt2", dataset_id="squad")
    assert api.json("/v1/models/gpt2")["id"] == "gpt2"
    assert api.json("/v1/benchmarks/squad")["claims"] == 1


@pytest.mark.parametrize("path", ["/v1/models/no/such", "/v1/models/none", "/v1/benchmarks/no/such"])
def test_what_was_never_seen_is_not_found(shared_api: RunningApi, path: str) -> None:
    assert shared_api.get(path).status_code == 404


def test_points_come_in_pages(api: RunningApi) -> None:
    models = [f"m/{number}" for number in range(5)]
    for model in models:
        api.rows.verified(model)
        api.rows.claim(model)
    first = api.json("/v1/points", dataset="acme/capitals", task="europe", limit=3)
    second = api.json("/v1/points", dataset="acme/capitals", limit=3, cursor=first["next"])
    assert [point["model"] for point in first["items"] + second["items"]] == models[::-1]
    assert second["next"] is None
    assert api.json("/v1/points", model="m/3")["items"][0]["interval"] is not None
