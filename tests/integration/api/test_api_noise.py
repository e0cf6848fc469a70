from __future__ import annotations

import pytest

from specs.judging.tolerance import measured_tolerance
from tests.support.api import RunningApi


def test_an_empty_ledger_is_an_empty_list(api: RunningApi) -> None:
    assert api.json("/v1/noise") == {"items": [], "next": None}


def test_pairs_are_shown_from_any_circumstances_to_the_narrowest(api: RunningApi) -> None:
    for _ in range(3):
        api.rows.noise_pair()
    api.rows.noise_pair(earlier_hardware="1 × A100", mean_square=0.2, mean_difference=-0.01)
    (task,) = api.json("/v1/noise")["items"]
    assert (task["dataset"], task["task"], task["population"]) == ("acme/capitals", "europe", 300)
    found = [(each["model_class"], each["engines"], each["hardware"], each["pairs"]) for each in task["groups"]]
    assert found == [
        (None, None, None, 4),
        ("below 1B", None, None, 4),
        ("below 1B", ["0.32.0"], None, 4),
        ("below 1B", ["0.32.0"], ["1 × A100", "1 × H100"], 1),
        ("below 1B", ["0.32.0"], ["1 × H100"], 3),
    ]
    widest, across, narrowest = task["groups"][0], task["groups"][3], task["groups"][4]
    assert (widest["comparisons"], widest["samples"]) == (4, 1200)
    assert widest["mean_square"] == pytest.approx(0.125)
    assert widest["mean_difference"] == pytest.approx(-0.0025)
    assert (across["spread"], across["tolerance"]) == (None, None), "one pair says nothing"
    assert narrowest["spread"] == pytest.approx((0.1 / 300) ** 0.5, rel=0.1)
    assert narrowest["tolerance"] == measured_tolerance(narrowest["spread"])
    assert narrowest["shift"] == 0


def test_pairs_under_different_settings_are_not_put_together(api: RunningApi) -> None:
    api.rows.noise_pair()
    api.rows.noise_pair(settings_sha256="6" * 64, epochs=4)
    (task,) = api.json("/v1/noise")["items"]
    assert {(each["settings_sha256"][0], each["epochs"], each["pairs"]) for each in task["groups"]} == {
        ("5", 1, 1),
        ("6", 4, 1),
    }


def test_a_benchmark_and_a_task_can_be_asked_for(api: RunningApi) -> None:
    for dataset, task in (("a/a", "one"), ("a/a", "two"), ("b/b", "one")):
        api.rows.noise_pair(dataset_id=dataset, task_id=task)

    def found(**asked: object) -> list[tuple[str, str]]:
        return [(item["dataset"], item["task"]) for item in api.json("/v1/noise", **asked)["items"]]

    assert found(dataset="a/a") == [("a/a", "one"), ("a/a", "two")]
    assert found(task="one") == [("a/a", "one"), ("b/b", "one")]
    assert found(dataset="a/a", task="two") == [("a/a", "two")]
    assert found(dataset="c/c") == []


def test_tasks_are_paged_whatever_their_names(api: RunningApi) -> None:
    tasks = [("a/a", None), ("a/a", "a task"), ("a/a", "z|&%"), ("b/b", None), ("b/b", "é")]
    for dataset, task in tasks:
        api.rows.noise_pair(dataset_id=dataset, task_id=task)
    found: list[tuple[str, str | None]] = []
    asked: dict[str, object] = {}
    for _ in tasks:
        page = api.json("/v1/noise", limit=1, **asked)
        found += [(item["dataset"], item["task"]) for item in page["items"]]
        asked = {"cursor": page["next"]}
    assert found == tasks
    assert page["next"] is None
