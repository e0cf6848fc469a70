"""GET /v1/workers and /v1/pools: who is there, at what, and what waits for them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from deploy.cli.main import app
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.state_machine import ReproductionState
from specs.policy.cost import start_gpu_seconds
from tests.support.api import RunningApi

ENGINE = {
    "model": "tiny/model",
    "revision": "a" * 40,
    "started_at": "2026-03-01T12:00:00Z",
    "tokens_per_second": 812.5,
}


def test_a_busy_worker_is_shown_with_its_engine_and_what_it_runs(api: RunningApi) -> None:
    claim = api.rows.running()
    api.rows.worker("w1@host", state="busy", engine=ENGINE)
    (found,) = api.json("/v1/workers")["items"]
    assert (found["name"], found["pool"], found["state"]) == ("w1@host", "cpu", "busy")
    assert (found["reproduction_id"], found["attempt"]) == (api.rows.run_of(claim), 2)
    assert found["engine"] == ENGINE
    assert found["memory"] == [{"device": "memory", "total_bytes": 4, "free_bytes": 3, "health": None}]


def test_a_gpu_says_how_it_is_to_the_api_the_dashboard_and_the_command(api: RunningApi) -> None:
    told = {"device": "GPU 0", "total_bytes": 80, "free_bytes": 79}
    hot = {"temperature_celsius": 91, "uncorrected_errors": 0, "throttled": ["heat"]}
    api.rows.worker("w1@host", memory=[{**told, "health": hot}])
    api.rows.worker("w2@host", state="quarantined", memory=[{**told, "health": {"unreachable": "GPU is lost"}}])
    first, second = (worker["memory"][0]["health"] for worker in api.json("/v1/workers")["items"])
    assert first == {
        "temperature_celsius": 91,
        "uncorrected_errors": 0,
        "sickness": None,
        "worries": ["its clocks are held back: heat"],
    }
    assert second["temperature_celsius"] is None
    assert "its driver does not reach it (GPU is lost)" in second["sickness"]
    page = api.get("/workers").text
    assert "91 °C" in page
    assert "its driver does not reach it (GPU is lost)" in page
    listed = CliRunner().invoke(app, ["workers", "--api", api.url], env={"COLUMNS": "400"}).output
    assert "91 °C; GPU 0: its clocks are held back: heat" in listed
    assert "  GPU 0: its driver does not reach it (GPU is lost)" in listed
    assert "no fault known" not in listed


def test_why_a_worker_is_quarantined_is_listed_whole_on_a_narrow_terminal(api: RunningApi) -> None:
    reason = "GPU 0 holds 61 GiB that no engine of this worker has: process 40112 (python train.py)"
    api.rows.worker("gpu-80@node7", state="quarantined", reason=reason)
    listed = CliRunner().invoke(app, ["workers", "--api", api.url], env={"COLUMNS": "80"}).output
    assert listed.splitlines()[-1] == f"gpu-80@node7 is quarantined: {reason}"
    assert listed.splitlines()[1].split()[:3] == ["gpu-80@node7", "cpu", "quarantined"]


def test_a_worker_is_at_nothing_that_another_one_holds_or_that_only_waits_in_its_batch(api: RunningApi) -> None:
    api.rows.running()
    run = api.rows.reproduction(state=ReproductionState.RUNNING, attempt=1, worker="w2@host")
    api.rows.attempt(run, 1, worker="w2@host", stage="waiting")
    api.rows.worker("w2@host", state="busy")
    (found,) = api.json("/v1/workers")["items"]
    assert (found["reproduction_id"], found["attempt"], found["engine"]) == (None, None, None)


def test_workers_are_listed_by_name_in_parts_and_by_pool_and_state(api: RunningApi) -> None:
    for number in range(5):
        api.rows.worker(f"w{number}@host", state="quarantined" if number == 3 else "idle", reason="held by pid 7")
    first = api.json("/v1/workers", limit=2)
    rest = api.json("/v1/workers", limit=200, cursor=first["next"])
    assert [each["name"] for each in first["items"] + rest["items"]] == [f"w{number}@host" for number in range(5)]
    assert rest["next"] is None
    (held,) = api.json("/v1/workers", state="quarantined", pool="cpu")["items"]
    assert (held["name"], held["reason"]) == ("w3@host", "held by pid 7")
    assert api.json("/v1/workers", pool="other")["items"] == []


def test_the_command_lists_the_workers_of_a_pool_and_in_a_state(api: RunningApi) -> None:
    api.rows.worker("w1@host")
    api.rows.worker("w2@host", state="quarantined")
    api.rows.worker("w3@host", state="quarantined", pool="other")
    asked = ["workers", "--pool", "cpu", "--state", "quarantined", "--api", api.url]
    listed = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert [each["name"] for each in listed["items"]] == ["w2@host"]
    assert CliRunner().invoke(app, [*asked[:-4], "--state", "lost", *asked[-2:]]).output == "no such worker\n"


def test_pools_tell_what_waits_and_who_is_there(api: RunningApi) -> None:
    api.rows.reproduction(waits_since=now() - timedelta(seconds=500))
    api.rows.reproduction(state=ReproductionState.DISPATCHED, created_at=now() - timedelta(seconds=90))
    api.rows.running()
    api.rows.reproduction(pool="gone")
    for number, state in enumerate(("idle", "quarantined", "lost")):
        api.rows.worker(f"w{number}@host", state=state)
    cpu, gone = api.json("/v1/pools")["items"]
    assert (cpu["name"], cpu["device"], cpu["gpus"], cpu["memory_gib"]) == ("cpu", "cpu", 0, 80.0)
    assert (cpu["queued"], cpu["dispatched"], cpu["running"]) == (1, 1, 1)
    assert (cpu["workers_alive"], cpu["workers_ready"]) == (2, 1)
    assert cpu["oldest_wait_seconds"] >= 500
    assert (gone["name"], gone["device"], gone["queued"], gone["workers_alive"]) == ("gone", None, 1, 0)


def test_a_pool_wants_a_worker_for_each_batch_that_is_out_or_to_be_made_up(api: RunningApi) -> None:
    for _ in range(2):
        api.rows.reproduction("one/model")
    for _ in range(3):
        api.rows.reproduction("large/batch", state=ReproductionState.RUNNING, batch_id="a" * 32)
    api.rows.reproduction("two/model")
    api.rows.reproduction("three/model", state=ReproductionState.DISPATCHED, batch_id="b" * 32)
    api.rows.reproduction("four/model", not_before=now() + timedelta(hours=1))
    api.rows.reproduction("done/model", state=ReproductionState.COMPLETED, batch_id="c" * 32)
    (cpu,) = api.json("/v1/pools")["items"]
    assert cpu["workers_wanted"] == 4


@pytest.mark.parametrize(
    ("runs", "batches"),
    [([3600.0] * 25, 25), ([30.0] * 25, 3), ([1.0] * 25, 2), ([14400.0] + [10.0] * 20, 2), ([14400.0] * 2 + [60.0], 3)],
)
def test_of_one_models_runs_a_pool_wants_as_many_workers_as_they_take(
    api: RunningApi, runs: list[float], batches: int
) -> None:
    for seconds in runs:
        api.rows.reproduction("one/model", gpu_seconds=start_gpu_seconds(270_000_000, 0) + seconds)
    assert api.json("/v1/pools")["items"][0]["workers_wanted"] == batches
    assert f'reprofarm_workers_wanted{{pool="cpu"}} {batches}.0' in api.get("/metrics").text


def test_a_pool_that_wants_workers_wants_one_in_the_place_of_each_in_quarantine(api: RunningApi) -> None:
    api.rows.worker("w1@host", state="quarantined")
    api.rows.worker("w2@host", state="lost")
    api.rows.worker("w3@host", state="quarantined", pool="other")
    assert [each["workers_wanted"] for each in api.json("/v1/pools")["items"]] == [0]
    api.rows.reproduction("one/model")
    assert api.json("/v1/pools")["items"][0]["workers_wanted"] == 2
    # It ends what it was at first, and that is counted already.
    at_work = {"state": ReproductionState.RUNNING, "batch_id": "a" * 32, "worker": "w4@host"}
    api.rows.reproduction("two/model", **at_work)
    api.rows.worker("w4@host", state="quarantined")
    assert api.json("/v1/pools")["items"][0]["workers_wanted"] == 3
    assert 'reprofarm_workers_wanted{pool="cpu"} 3.0' in api.get("/metrics").text


def test_a_run_whose_report_waits_for_the_evidence_store_keeps_no_worker(api: RunningApi) -> None:
    claim_id = api.rows.running()
    run = api.rows.run_of(claim_id)
    with api.rows.database.transaction() as session:
        session.get_one(Reproduction, run).batch_id = "a" * 32
    api.rows.worker("w1@host")
    assert api.json("/v1/pools")["items"][0]["workers_wanted"] == 1
    with api.rows.database.transaction() as session:
        session.get_one(Attempt, (run, 2)).report = {"kept": "until it can be checked"}
    (cpu,) = api.json("/v1/pools")["items"]
    assert (cpu["running"], cpu["workers_wanted"]) == (1, 0)
    (worker,) = api.json("/v1/workers")["items"]
    assert worker["reproduction_id"] is None


def test_a_pool_in_which_nothing_waits_has_no_oldest(api: RunningApi) -> None:
    (cpu,) = api.json("/v1/pools")["items"]
    assert (cpu["queued"], cpu["oldest_wait_seconds"]) == (0, None)
