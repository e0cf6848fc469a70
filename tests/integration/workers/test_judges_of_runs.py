"""Models that grade answers: who is asked, with which key, and what their silence means."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.event import ModelEvent
from inspect_ai.log import read_eval_log

from deploy.serving import QuietHandler, answered_by
from specs.messages import AttemptOutcome, Order
from specs.policy.engine import EngineRules
from specs.policy.judges import JudgeEndpoint
from tests.support.engines import engines
from tests.support.saying_bench import SAY, reports_of, say_dataset, say_spec, saying_bench
from tests.support.small_repos import task_ref
from tests.support.worker_bench import MODEL, order, stand_in
from workers.batches.workbench import Workbench
from workers.engines.engine_logs import logs
from workers.engines.engine_process import EngineCommand

workbench = saying_bench
JUDGE = "openai/o3-mini"
ARGUMENTS = {
    "model": JUDGE,
    "template": "{question} {answer} {criterion} {instructions}",
    "instructions": "Say: GRADE: C",
}
JUDGED = say_spec(scorers=[{"name": "model_graded_qa", "args": ARGUMENTS}])


def _judged(workbench: Workbench, url: str, rows: int = 1, **more: Any) -> Order:
    judge = JudgeEndpoint(base_url=url, model="judge-2026", api_key_env="REPROFARM_JUDGE_KEY")
    return order(task_ref(say_dataset(workbench, [SAY] * rows, JUDGED)), judges={JUDGE: judge}, **more)


def test_a_judge_that_grades_no_answer_leaves_a_measurement_without_a_score(workbench: Workbench) -> None:
    judge = {"template": "{question} {answer} {criterion} {instructions}", "instructions": "Say: no grade"}
    snapshot = say_dataset(workbench, [SAY] * 3, say_spec(scorers=[{"name": "model_graded_fact", "args": judge}]))
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert (report.measurement.score, report.measurement.standard_error) == (None, None)
    assert report.measurement.sample_scores == (None, None, None)
    assert report.detail == "of 3 answers none has a score: 3 got no number from the scorer"


def test_a_judge_that_policy_does_not_know_is_not_asked(workbench: Workbench) -> None:
    judged = say_spec(scorers=[{"name": "model_graded_fact", "args": {"model": "openai/o3-mini"}}])
    own = say_spec(scorers=[{"name": "model_graded_fact"}])
    first, second = say_dataset(workbench, [SAY], judged, "judged"), say_dataset(workbench, [SAY], own, "own")
    reports = reports_of(
        workbench,
        order(task_ref(first, dataset_id="bench/judged"), "r1"),
        order(task_ref(second, dataset_id="bench/own"), "r2", allow_self_judge=False),
    )
    assert "needs the judge openai/o3-mini" in reports["r1"].detail
    assert "does not let a model judge itself" in reports["r2"].detail
    assert {report.outcome for report in reports.values()} == {AttemptOutcome.SPEC_FAILED}


def test_judges_are_asked_at_their_own_endpoints_with_their_own_keys(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The judge is a second stand-in, with another key; it repeats its instructions, which end in a grade.
    asked = tmp_path / "judge-asked"
    monkeypatch.setenv("REPROFARM_JUDGE_KEY", "the judge's key")
    manager = engines(tmp_path / "judge", EngineCommand(stand_in("--record", str(asked))))
    manager.api_key = "the judge's key"
    snapshot = workbench.settings.cache_folder.parent / "model" / "snapshots" / MODEL.revision
    engine = manager.engine_for(MODEL, snapshot, EngineRules(kv_cache_gib=1), 0)
    try:
        report = reports_of(workbench, _judged(workbench, engine.base_url))["r1"]
    finally:
        manager.stop()
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert report.measurement.score == 1.0
    assert report.measurement.circumstances.judges == {"openai/o3-mini": f"judge-2026 at {engine.base_url}"}
    (log,) = (tmp_path / "evidence").rglob("*.eval")
    (sample,) = read_eval_log(str(log)).samples or []
    retries = {event.model: event.config.max_retries for event in sample.events if isinstance(event, ModelEvent)}
    # The engine's alone: a judge that is busy for a minute must not cost answers.
    assert sorted(retries.values(), key=str) == [3, None], retries
    assert '"model": "judge-2026"' in asked.read_text()
    assert "judge-2026" not in (tmp_path / "asked").read_text()


class _Says(QuietHandler):
    status: int
    asked: list[Any]

    def do_POST(self) -> None:
        body = json.loads(self.body())
        self.asked.append((self.headers["Authorization"], body["model"], body["messages"][0]["content"]))
        self.answer(self.status)


@pytest.mark.parametrize(
    ("status", "outcome", "said"),
    [
        (401, AttemptOutcome.JUDGE_REFUSES, "the farm's operator must look at REPROFARM_JUDGE_KEY, or at policy: "),
        (403, AttemptOutcome.JUDGE_REFUSES, "does not let its key use the model (403)"),
        (404, AttemptOutcome.JUDGE_REFUSES, "does not know the model, or the address is wrong (404)"),
        (503, AttemptOutcome.JUDGE_AWAY, "answers 503"),
        (429, AttemptOutcome.JUDGE_AWAY, "answers 429"),
        (None, AttemptOutcome.JUDGE_AWAY, "cannot be reached"),
        ("no key", AttemptOutcome.JUDGE_REFUSES, "the farm's operator must set REPROFARM_JUDGE_KEY for the workers"),
        ("no ASCII", AttemptOutcome.JUDGE_REFUSES, "the farm's operator must look at REPROFARM_JUDGE_KEY: the key of"),
        ("two lines", AttemptOutcome.JUDGE_REFUSES, "has other characters than printable ASCII"),
    ],
)
def test_a_judge_that_refuses_or_is_away_is_found_before_an_engine_is_started(
    workbench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    status: int | str | None,
    outcome: AttemptOutcome,
    said: str,
) -> None:
    monkeypatch.setattr("workers.runs.judges._PAUSES_SECONDS", (0.0, 0.0))
    # The one that is sound ends as a line does of which a secret was made.
    keys = {"no key": " \n", "no ASCII": "the judge's k\u00e9y", "two lines": "the judge's\nkey"}
    monkeypatch.setenv("REPROFARM_JUDGE_KEY", keys.get(str(status), "the judge's key\n"))
    asked: list[Any] = []
    handler = type("Says", (_Says,), {"status": status, "asked": asked})
    with answered_by(handler) as url:
        address = f"{url}/v1" if isinstance(status, int) else "http://127.0.0.1:9/v1"
        report = reports_of(workbench, _judged(workbench, address))["r1"]
    assert report.outcome is outcome, report.detail
    assert said in report.detail
    assert f"the judge {JUDGE}" in report.detail
    assert "judge's" not in report.detail
    assert set(asked) <= {("Bearer the judge's key", "judge-2026", "Hello")}
    assert len(asked) == (3 if status in (503, 429) else 1 if isinstance(status, int) else 0)
    assert logs(workbench.settings.state_folder / "engine") == []


def test_a_judge_that_goes_away_is_not_taken_for_an_engine_that_hangs(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPROFARM_JUDGE_KEY", "the judge's key")
    over, graded = threading.Event(), threading.Semaphore(2)

    class Tires(QuietHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.body())
            if asked["messages"][0]["content"] != "Hello" and not graded.acquire(blocking=False):
                over.wait()
            said = {"index": 0, "message": {"role": "assistant", "content": "GRADE: C"}, "finish_reason": "stop"}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "judge-2026", "choices": [said]}
            self.answer(200, json.dumps(answer).encode())

    suspected: list[Any] = []
    monkeypatch.setattr("workers.batches.shared_engine.SharedEngine.suspect", suspected.append)
    with answered_by(Tires) as url:
        try:
            report = reports_of(workbench, _judged(workbench, f"{url}/v1", rows=5, stall_seconds=8.0))["r1"]
        finally:
            over.set()
    assert report.outcome is AttemptOutcome.JUDGE_AWAY, report.detail
    assert suspected == []
    assert report.detail == (
        f"the judge ({JUDGE}) does not answer, for 8 s, 2 of 5 samples done; 2 of 5 samples are kept"
    )
    assert report.partial is not None
    assert report.partial.answers == 2
    (log,) = (tmp_path / "evidence").rglob("*.eval")
    assert log.stem == report.partial.sha256
