from __future__ import annotations

import hashlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from scheduler.api import plan, turns
from scheduler.api.routes import trace
from scheduler.database.tables import Claim, Reproduction
from specs.api_v1.trace import TraceView
from specs.judging.verdict import Outcome
from specs.logs.evidence import path_in_store
from tests.support.api import RunningApi, running_api
from tests.support.databases import ON_BOTH, mostly_sqlite
from tests.support.interleaving import PATIENCE_SECONDS
from tests.support.lively_farm import CAPITALS, LivelyFarm
from tests.support.lively_runs import Story
from tests.support.rows import comparison
from tests.support.waiting import until

LOG = bytes(range(256)) * 4


databases = mostly_sqlite


def test_a_trace_ends_where_the_verdict_was_given(api: RunningApi, tmp_path: Path) -> None:
    farm = LivelyFarm(api.rows, tmp_path / "evidence")
    farm.publish_benchmarks()
    claim_id = farm.decided(Story("acme/model", CAPITALS, "capitals", 0.7, 0.7, 400, 5))
    claim = api.json(f"/v1/claims/{claim_id}")
    run, found = claim["reproduction"]["id"], claim["verdict"]["comparison"]
    told = api.json(f"/v1/reproductions/{run}/trace", claim=claim_id)
    assert told == api.json(f"/v1/reproductions/{run[:8]}/trace")
    assert (told["claimed"], told["tolerance"], told["population"]) == (0.7, found["tolerance"], 400)
    assert told["points"][-1] == {
        "samples": found["samples_used"],
        "score": found["reproduced"],
        "low": found["interval"]["low"],
        "high": found["interval"]["high"],
    }


def traces(api: RunningApi, folder: Path, number: int) -> list[str]:
    """Addresses of so many."""
    farm = LivelyFarm(api.rows, folder / "evidence")
    farm.publish_benchmarks()
    # Of few samples each, as to tell one takes longer the more there are.
    decided = [farm.decided(Story(f"acme/{n}", CAPITALS, "capitals", 0.7, 0.7, 30, 5)) for n in range(number)]
    return [f"/v1/reproductions/{api.rows.run_of(each)}/trace" for each in decided]


def test_one_trace_is_told_at_a_time_and_whoever_would_wait_for_long_is_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, tell = Event(), Event(), trace.trace_view

    def slowly(reproduction: Reproduction, claim: Claim) -> TraceView:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return tell(reproduction, claim)

    monkeypatch.setattr(trace, "trace_view", slowly)
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.05)
    with running_api(tmp_path) as api, ThreadPoolExecutor() as threads:
        one, other = traces(api, tmp_path, 2)
        telling = threads.submit(api.get, one)
        assert begun.wait(PATIENCE_SECONDS)
        busy = api.get(other)
        go_on.set()
        assert telling.result().status_code == 200
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        assert busy.json()["type"].endswith(":too-many-traces")
        assert api.get(other).status_code == 200


def test_one_caller_has_one_place_to_wait_for_a_trace_and_plans_keep_nobody_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", PATIENCE_SECONDS)
    elsewhere = {"x-forwarded-for": "192.0.2.7"}
    with running_api(tmp_path, proxies=1) as api, ThreadPoolExecutor() as threads:
        one, other = traces(api, tmp_path, 2)
        with ExitStack() as held:
            held.enter_context(plan._turns.turn_of("192.0.2.1"))
            assert api.get(one).status_code == 200
            held.enter_context(trace._turns.turn_of("192.0.2.1"))
            first = threads.submit(api.get, other)
            until(lambda: trace._turns._waiting)
            second = api.get(other)
            another = threads.submit(api.get, other, elsewhere)
            until(lambda: len(trace._turns._waiting) == 2)
        assert (second.status_code, first.result().status_code, another.result().status_code) == (503, 200, 200)
        assert "one of you waits for this already" in second.json()["detail"]


def test_the_traces_that_are_asked_for_most_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    tell = trace.trace_view

    def noted(reproduction: Reproduction, claim: Claim) -> TraceView:
        told.append(reproduction.reproduction_id)
        return tell(reproduction, claim)

    monkeypatch.setattr(trace, "MANY_TRACES", 2)
    monkeypatch.setattr(trace, "_told", OrderedDict())
    monkeypatch.setattr(trace, "trace_view", noted)
    with running_api(tmp_path, api_memory_mib=0) as api:
        first, second, third = traces(api, tmp_path, 3)
        for each in (first, second, first, third, first, second):
            assert api.json(each)["reproduction_id"] in each
    assert [f"/v1/reproductions/{each}/trace" for each in told] == [first, second, third, second]


@ON_BOTH
def test_a_run_that_goes_on_has_no_trace_and_neither_has_anothers_claim(api: RunningApi) -> None:
    running = api.rows.running()
    decided = api.rows.decided(Outcome.MISMATCH, "other/model", comparison())
    assert api.get(f"/v1/reproductions/{api.rows.run_of(running)}/trace").status_code == 404
    assert api.get(f"/v1/reproductions/{api.rows.run_of(decided)}/trace", claim=running).status_code == 404
    assert api.get(f"/v1/reproductions/{'0' * 32}/trace").status_code == 404


@pytest.fixture(scope="module")
def log(shared_api: RunningApi) -> str:
    """The address of a log in the store."""
    sha256 = hashlib.sha256(LOG).hexdigest()
    file = Path(shared_api.settings.evidence_url.removeprefix("file://")) / path_in_store(sha256)
    file.parent.mkdir(parents=True)
    file.write_bytes(LOG)
    shared_api.rows.reproduction(evidence_sha256=sha256, evidence_bytes=len(LOG))
    return sha256


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=1000-", 1000, 1023), ("bytes=-4", 1020, 1023),
     ("bytes=1000-999999", 1000, 1023), ("bytes=-99999", 0, 1023)],
)  # fmt: skip
def test_a_range_of_a_log_can_be_read(shared_api: RunningApi, log: str, asked: str, first: int, last: int) -> None:
    for path in (f"/v1/evidence/{log}", f"/logs/{log}.eval"):
        answer = shared_api.get(path, {"range": asked})
        assert (answer.status_code, answer.content) == (206, LOG[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(LOG)}"


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=-0", "bytes=5-2"])
def test_a_range_that_there_is_not_is_said_to_be_so(shared_api: RunningApi, log: str, asked: str) -> None:
    answer = shared_api.get(f"/v1/evidence/{log}", {"range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(LOG)}")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=a-b", "bytes=-"])
def test_what_is_no_single_range_of_bytes_gets_the_whole(shared_api: RunningApi, log: str, asked: str) -> None:
    answer = shared_api.get(f"/v1/evidence/{log}", {"range": asked})
    assert (answer.status_code, answer.content) == (200, LOG)
