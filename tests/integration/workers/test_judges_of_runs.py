"""Models that grade answers: who is asked, with which key, and what their silence means."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai.event import ModelEvent
from inspect_ai.log import read_eval_log

from specs.messages import AttemptOutcome
from specs.policy.rules import EngineRules, JudgeEndpoint
from tests.support.saying_bench import SAY, reports_of, say_dataset, say_spec, saying_bench
from tests.support.small_repos import task_ref
from tests.support.worker_bench import MODEL, order, stand_in
from workers.batches.workbench import Workbench
from workers.engines.engine_manager import EngineManager

workbench = saying_bench


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
    manager = EngineManager(tmp_path / "judge", stand_in("--record", str(asked)))
    manager.api_key = "the judge's key"
    snapshot = workbench.settings.cache_folder.parent / "model" / "snapshots" / MODEL.revision
    engine = manager.engine_for(MODEL, snapshot, EngineRules(), 0)
    try:
        spec = say_spec(
            scorers=[
                {
                    "name": "model_graded_qa",
                    "args": {
                        "model": "openai/o3-mini",
                        "template": "{question} {answer} {criterion} {instructions}",
                        "instructions": "Say: GRADE: C",
                    },
                }
            ]
        )
        dataset = say_dataset(workbench, [SAY], spec)
        judge = JudgeEndpoint(base_url=engine.base_url, model="judge-2026", api_key_env="REPROFARM_JUDGE_KEY")
        report = reports_of(workbench, order(task_ref(dataset), judges={"openai/o3-mini": judge}))["r1"]
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
