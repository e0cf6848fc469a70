"""Runs that cannot be scored as their benchmark has it: the spec's failure, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.judging.evidence import check_evidence
from specs.ids import MAX_TASK_ID_CHARS
from specs.messages import AttemptOutcome
from tests.support.saying_bench import SAY, reports_of, say_dataset, say_spec, saying_bench
from tests.support.small_repos import task_ref
from tests.support.worker_bench import order
from workers.batches.workbench import Workbench

workbench = saying_bench


def test_a_regular_expression_that_never_ends_is_the_specs_failure(workbench: Workbench) -> None:
    endless = say_spec(scorers=[{"name": "pattern", "args": {"pattern": "(a+)+$"}}])
    first = say_dataset(workbench, [{"question": f"Say: {'a' * 40}!", "answer": "x"}], endless, "endless")
    second = say_dataset(workbench, [SAY], name="good")
    reports = reports_of(
        workbench,
        order(task_ref(first, dataset_id="bench/endless"), "r1", stall_seconds=60.0),
        order(task_ref(second, dataset_id="bench/good"), "r2"),
    )
    assert reports["r1"].outcome is AttemptOutcome.SPEC_FAILED, reports["r1"].detail
    assert "the scorer pattern did not end on one answer within 6 s of computing" in reports["r1"].detail
    assert reports["r2"].outcome is AttemptOutcome.COMPLETED, reports["r2"].detail


@pytest.mark.parametrize("kind", ["image", "audio", "video", "document"])
def test_a_message_that_names_a_file_of_the_workers_is_not_asked(workbench: Workbench, kind: str) -> None:
    secret = workbench.settings.cache_folder.parent / "secret.png"
    secret.write_bytes(b"a secret of the worker's")
    words = {"type": "text", "text": "Say: yes"}
    more = {"format": {"audio": "wav", "video": "mp4"}[kind]} if kind in {"audio", "video"} else {}
    rows = [{"question": [{"role": "user", "content": [words, {"type": kind, kind: str(secret), **more}]}]}]
    snapshot = say_dataset(workbench, [{**row, "answer": "yes"} for row in rows])
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED, report.detail
    assert f"a message with {kind} that is no data URI" in report.detail
    asked = workbench.settings.cache_folder.parent / "asked"
    assert not asked.exists() or not asked.read_text()


def test_questions_none_of_which_is_multiple_choice_are_the_specs_failure(workbench: Workbench) -> None:
    field_spec = {"input": "question", "target": "answer", "choices": "options"}
    choosing = say_spec(field_spec=field_spec, solvers=[{"name": "multiple_choice"}], scorers=[{"name": "choice"}])
    rows = {"empty": [], "one": ["x", "y"]}
    hidden = say_dataset(workbench, [{**SAY, "answer": "A", "options": rows["empty"]}] * 3, choosing, "hidden")
    some = say_dataset(
        workbench, [{"question": "Say: ANSWER: A", "answer": "A", "options": each} for each in rows.values()], choosing
    )
    reports = reports_of(
        workbench,
        order(task_ref(hidden, dataset_id="bench/hidden"), "r1"),
        order(task_ref(some), "r2"),
    )
    assert reports["r1"].outcome is AttemptOutcome.SPEC_FAILED, reports["r1"].detail
    assert reports["r1"].detail == "not one of the 3 questions can be run as multiple choice: the first has no choices"
    assert reports["r2"].outcome is AttemptOutcome.COMPLETED, reports["r2"].detail
    assert reports["r2"].measurement is not None
    by_id = dict(zip(reports["r2"].measurement.sample_ids, reports["r2"].measurement.sample_scores, strict=True))
    assert by_id == {1: None, 2: 1.0}, "one that fails among others has no score"


def test_a_split_whose_answers_are_withheld_is_not_scored(workbench: Workbench) -> None:
    snapshot = say_dataset(workbench, [{**SAY, "answer": ""}] * 3, say_spec(scorers=[{"name": "match"}]))
    report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED, report.measurement
    assert "the split test has no answers: column answer holds nothing in all of its 3 rows" in report.detail


def test_another_file_than_planned_for_is_notreports_of(workbench: Workbench) -> None:
    snapshot = say_dataset(workbench, [SAY])
    planned = task_ref(snapshot)
    (snapshot / "eval.yaml").write_text((snapshot / "eval.yaml").read_text() + "# changed\n")
    report = reports_of(workbench, order(planned))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED
    assert planned.spec_sha256 in report.detail


def test_fewer_epochs_than_the_specs_reducer_needs_are_refused(workbench: Workbench) -> None:
    snapshot = say_dataset(workbench, [SAY], say_spec(epochs=4, epoch_reducer="pass_at_2"))
    report = reports_of(workbench, order(task_ref(snapshot), epochs=1))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED
    assert "requires 2 epochs however evaluation has only 1" in report.detail


def test_a_log_that_the_control_plane_would_not_read_ends_its_run_once_and_is_not_stored(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.batches.batch.MAX_LOG_BYTES", 100)
    report = reports_of(workbench, order(task_ref(say_dataset(workbench, [SAY]))))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED, report.detail
    assert "bytes, and this farm reads 100 at most" in report.detail
    assert "Its operator can set a sample_limit" in report.detail
    assert list((tmp_path / "evidence").rglob("*.eval")) == []


def test_a_task_whose_id_is_longer_than_the_name_of_a_file_may_be_is_run(workbench: Workbench) -> None:
    task_id = "题" * MAX_TASK_ID_CHARS
    snapshot = say_dataset(workbench, [SAY], say_spec(id=task_id))
    report = reports_of(workbench, order(task_ref(snapshot, task_id)))["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    check_evidence(workbench.settings.evidence_url, report, None)
