"""What a measurement says of single answers: their seeds, and why some have no score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log

from scheduler.judging.evidence import check_evidence
from specs.errors import EvidenceError
from specs.logs.evidence import path_in_store
from specs.messages import AttemptOutcome
from tests.support.saying_bench import SAY, reports_of, say_dataset, say_spec, saying_bench
from tests.support.small_repos import task_ref
from tests.support.worker_bench import order
from workers.batches.workbench import Workbench

workbench = saying_bench


def test_prompts_that_are_all_too_long_leave_a_measurement_without_a_score(workbench: Workbench) -> None:
    snapshot = say_dataset(workbench, [{"question": "[too long]", "answer": "x"}] * 2)
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert (report.measurement.score, report.measurement.failed) == (None, 2)
    assert report.detail == "of 2 answers none has a score: 2 had a prompt too long for the engine's context"


@pytest.mark.parametrize(("args", "seconds"), [({}, 30.0), ({"timeout": 1e-9}, 1e-9)])
def test_answers_over_which_math_runs_out_of_time_have_no_score_and_get_more_than_inspects_two_seconds(
    workbench: Workbench, tmp_path: Path, args: dict[str, float], seconds: float
) -> None:
    rows = [{"question": f"Say: {said}", "answer": "8"} for said in ("8", "9")]
    snapshot = say_dataset(workbench, rows, say_spec(scorers=[{"name": "math", "args": args}]))
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.measurement is not None, report.detail
    assert report.evidence is not None
    header = read_eval_log(str(tmp_path / "evidence" / path_in_store(report.evidence.sha256)), header_only=True)
    assert [each.options for each in header.eval.scorers or []] == [{"timeout": seconds}]
    if args:
        assert (report.measurement.score, report.measurement.failed) == (None, 2)
        assert report.detail == "of 2 answers none has a score: 2 took the scorer too long"
    else:
        assert (report.measurement.score, report.measurement.failed) == (0.5, 0)
    check_evidence(workbench.settings.evidence_url, report, None)


def test_what_fails_by_a_further_scorer_alone_keeps_the_first_ones_score(workbench: Workbench, tmp_path: Path) -> None:
    # The second has a target that math reads nothing from, which is an error to Inspect.
    rows = [{"question": f"Say: {said}", "answer": said} for said in ("8", "C:\\n")]
    snapshot = say_dataset(workbench, rows, say_spec(scorers=[{"name": "match"}, {"name": "math"}]))
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.measurement is not None, report.detail
    assert report.evidence is not None
    log = read_eval_log(str(tmp_path / "evidence" / path_in_store(report.evidence.sha256)))
    assert sum(each.error is not None for each in log.samples or []) == 1
    assert log.results is not None
    theirs = {each.name: (each.metrics["accuracy"].value, each.scored_samples) for each in log.results.scores}
    assert theirs == {"match": (1.0, 2), "math": (1.0, 1)}
    assert report.measurement.sample_scores == (1.0, 1.0)
    assert report.measurement.other_scorers == {"math": 1.0}
    check_evidence(workbench.settings.evidence_url, report, None)


@pytest.mark.parametrize(
    ("scorer", "counted"), [({"name": "includes"}, 1), ({"name": "match"}, 0), ({"name": "exact"}, 1)]
)
def test_thoughts_that_a_scorer_may_have_taken_for_the_answer_are_counted(
    workbench: Workbench, scorer: dict[str, Any], counted: int
) -> None:
    # The first as where the chat template opened <think>; of the second Inspect takes out what it marks itself.
    rows = [
        {"question": f"Say: {said}", "answer": "Rome"} for said in ("Rome?</think>Oslo", "<think>Rome?</think>Oslo")
    ]
    snapshot = say_dataset(workbench, rows, say_spec(scorers=[scorer]))
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.measurement is not None, report.detail
    assert report.measurement.thoughts == counted
    assert report.measurement.score == (0.5 if scorer["name"] == "includes" else 0.0)
    check_evidence(workbench.settings.evidence_url, report, None)
    forged = report.measurement.model_copy(update={"thoughts": counted + 1})
    with pytest.raises(EvidenceError, match=f"the log gives {counted} answers with thoughts before them"):
        check_evidence(workbench.settings.evidence_url, report.model_copy(update={"measurement": forged}), None)


def test_every_answer_has_a_seed_of_its_own(workbench: Workbench, tmp_path: Path) -> None:
    snapshot = say_dataset(workbench, [SAY, {"question": "Say: no", "answer": "yes"}], say_spec(epochs=3))
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.measurement is not None, report.detail
    assert report.measurement.score == 0.5
    assert report.measurement.circumstances.epochs == 3
    asked = (tmp_path / "asked").read_text().splitlines()
    assert sorted(line.partition('"seed": ')[2].partition(",")[0] for line in asked) == ["10", "5", "6", "7", "8", "9"]
