"""Runs that go wrong: each ends, with an outcome that says whose failure it was."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from deploy.serving import QuietHandler, answered_by
from scheduler.judging.evidence import check_evidence
from specs.errors import EvidenceError
from specs.messages import AttemptOutcome, Order, Report
from specs.policy.rules import EngineRules, JudgeEndpoint
from tests.support.refusing_hub import hub_that_says
from tests.support.small_repos import SAY_SPEC, task_ref, write_dataset, write_model, write_safetensors
from tests.support.stand_in_worker import PROJECT
from tests.support.worker_bench import MODEL, batch_of, bench, order, remember_snapshot, run, stand_in
from workers.batches.workbench import Workbench
from workers.engines.engine_logs import logs
from workers.runs import run_process
from workers.runs.forked_run import RunServer

SAY = {"question": "Say: yes", "answer": "yes"}


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--record", str(tmp_path / "asked"))) as opened:
        yield opened


def _dataset(workbench: Workbench, rows: list[Any], spec: Mapping[str, Any] = SAY_SPEC, name: str = "say") -> Path:
    cache = workbench.settings.cache_folder
    snapshot = write_dataset(cache.parent / name, rows, spec)
    remember_snapshot(cache, "dataset", f"bench/{name}", snapshot)
    return snapshot


def _spec(**task: Any) -> dict[str, Any]:
    return {**SAY_SPEC, "tasks": [{**SAY_SPEC["tasks"][0], **task}]}


def _run(workbench: Workbench, *orders: Order, engine: EngineRules | None = None) -> dict[str, Report]:
    return run(workbench, batch_of(*orders, engine=engine)).reports


def test_an_engine_that_dies_ends_the_run_and_the_next_order_gets_a_new_one(workbench: Workbench) -> None:
    deadly = _dataset(workbench, [{"question": "[die]", "answer": "x"}] * 2, name="deadly")
    good = _dataset(workbench, [SAY], name="good")
    reports = _run(
        workbench,
        order(task_ref(deadly, dataset_id="bench/deadly"), "r1"),
        order(task_ref(good, dataset_id="bench/good"), "r2"),
    )
    assert reports["r1"].outcome is AttemptOutcome.ENGINE_FAILED
    assert "died during the run" in reports["r1"].detail
    assert reports["r2"].outcome is AttemptOutcome.COMPLETED, reports["r2"].detail


def test_an_engine_that_is_about_to_die_is_given_no_more_and_blamed_for_what_failed(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--lingers", "600")) as workbench:
        deadly = _dataset(workbench, [SAY, {"question": "[die slowly]", "answer": "x"}], name="deadly")
        good = _dataset(workbench, [SAY], name="good")
        reports = _run(
            workbench,
            order(task_ref(deadly, dataset_id="bench/deadly"), "r1"),
            order(task_ref(good, dataset_id="bench/good"), "r2"),
            engine=EngineRules(start_seconds=600.0, concurrency=1),
        )
    assert reports["r1"].outcome is AttemptOutcome.ENGINE_FAILED, reports["r1"].detail
    assert reports["r2"].outcome is AttemptOutcome.COMPLETED, reports["r2"].detail


def test_an_engine_that_runs_out_of_memory_says_so_while_it_starts_and_while_it_runs(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--fits", "8")) as workbench:
        greedy = _dataset(workbench, [{"question": "[out of memory]", "answer": "x"}], name="greedy")
        good = _dataset(workbench, [SAY], name="good")
        rules = EngineRules(start_seconds=600.0)
        started = _run(workbench, order(task_ref(good, dataset_id="bench/good"), "r1"), engine=rules)["r1"]
        reports = _run(
            workbench,
            order(task_ref(greedy, dataset_id="bench/greedy"), "r2"),
            order(task_ref(good, dataset_id="bench/good"), "r3"),
            engine=rules.model_copy(update={"concurrency": 8}),
        )
    assert started.outcome is AttemptOutcome.OUT_OF_MEMORY, started.detail
    assert "torch.OutOfMemoryError: CUDA out of memory" in started.detail
    assert reports["r2"].outcome is AttemptOutcome.OUT_OF_MEMORY, reports["r2"].detail
    assert "ran out of memory and died during the run" in reports["r2"].detail
    assert reports["r3"].outcome is AttemptOutcome.COMPLETED, reports["r3"].detail
    assert reports["r3"].measurement is not None
    arguments = reports["r3"].measurement.circumstances.engine_arguments
    assert arguments[arguments.index("--max-num-seqs") + 1] == "8"


def test_a_run_in_which_nothing_happens_is_ended(workbench: Workbench) -> None:
    snapshot = _dataset(workbench, [{"question": "[hang]", "answer": "x"}])
    report = _run(workbench, order(task_ref(snapshot), stall_seconds=1.0))["r1"]
    assert report.outcome is AttemptOutcome.STALLED
    assert "0 of 1 samples done" in report.detail


class _Hanging(RunServer):
    """A server of runs whose import hangs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder / "cache")
        self._module = "tests.support.hanging_server"
        self._environment["PYTHONPATH"] = str(PROJECT)


def test_a_server_of_runs_that_hangs_is_ended_and_not_the_engine(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_process, "_BEGIN_SECONDS", 3.0)
    snapshot, hanging = _dataset(workbench, [SAY]), _Hanging(tmp_path / "server")
    report = _run(replace(workbench, runs=hanging), order(task_ref(snapshot), stall_seconds=1.0))["r1"]
    assert report.outcome is AttemptOutcome.WORKER_FAILED, report.detail
    assert "the process that runs are forked from took none for 4 s, and was ended" in report.detail
    assert hanging._process is None
    again = _run(workbench, order(task_ref(snapshot), "r2"))["r2"]
    assert again.outcome is AttemptOutcome.COMPLETED, again.detail
    assert len(logs(workbench.settings.state_folder / "engine")) == 1, "the same engine"


@pytest.mark.parametrize("missing", ["model", "dataset"])
def test_a_hub_that_trickles_has_the_time_of_a_run_and_no_more(
    workbench: Workbench, tmp_path: Path, missing: str
) -> None:
    over = threading.Event()

    class Trickles(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            # Sooner than anybody loses patience with a connection.
            while not over.wait(1):
                self.wfile.write(b" ")

    task = task_ref(_dataset(workbench, [SAY]))
    for each in (workbench.settings.cache_folder / "complete").glob(f"{missing}--*"):
        each.unlink()
    try:
        with answered_by(Trickles) as url:
            snapshots = replace(workbench.snapshots, api=HfApi(endpoint=url, token=False))
            report = _run(replace(workbench, snapshots=snapshots), order(task, deadline_seconds=4.0))["r1"]
            over.set()
    finally:
        over.set()
    assert report.outcome is AttemptOutcome.HUB_AWAY, report.detail
    assert "did not come from the Hub in all the time that a run may take" in report.detail


def test_a_run_that_hangs_half_way_says_how_far_it_came(workbench: Workbench) -> None:
    snapshot = _dataset(workbench, [SAY, SAY, SAY, {"question": "[hang]", "answer": "x"}])
    report = _run(workbench, order(task_ref(snapshot), stall_seconds=3.0))["r1"]
    assert report.outcome is AttemptOutcome.STALLED
    assert report.measurement is None
    assert "3 of 4 samples done" in report.detail


def test_an_engine_that_answers_ever_slower_has_its_time_and_no_more(tmp_path: Path) -> None:
    engine = stand_in("--ever-slower", "0.1", "--at-once", "1")
    with bench(tmp_path, write_model(tmp_path / "model"), engine) as workbench:
        # Each answer comes before the run counts as stalled; all of them would take three minutes.
        snapshot = _dataset(workbench, [SAY] * 60)
        report = _run(workbench, order(task_ref(snapshot), stall_seconds=60.0, deadline_seconds=15.0))["r1"]
    assert report.outcome is AttemptOutcome.TIMED_OUT, report.detail
    assert report.measurement is None
    assert "not done after 15 s" in report.detail


class _SomebodyElse(QuietHandler):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404)


def test_a_port_that_another_process_took_is_no_fault_of_the_model(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = _dataset(workbench, [SAY])
    with answered_by(_SomebodyElse) as url, monkeypatch.context() as patched:
        patched.setattr("workers.engines.engine_manager.free_port", lambda: int(url.rpartition(":")[2]))
        report = _run(workbench, order(task_ref(snapshot), "r1"))["r1"]
    assert report.outcome is AttemptOutcome.ENGINE_FAILED, report.detail
    assert report.measurement is None
    assert re.search("does not serve this model|Address already in use", report.detail)
    again = _run(workbench, order(task_ref(snapshot), "r2"))["r2"]
    assert again.outcome is AttemptOutcome.COMPLETED, again.detail


@pytest.mark.parametrize(
    ("refuses", "question", "outcome", "said"),
    [
        # Every request has messages, a plain one too.
        ("messages", "Say: yes", AttemptOutcome.MODEL_FAILED, "every question to this model, even a plain one"),
        ("min_p", "Say: yes", AttemptOutcome.REQUESTS_REFUSED, "no question with the farm's sampling settings"),
        ("nothing", "[fail] [malformed]", AttemptOutcome.REQUESTS_REFUSED, "the farm's requests are malformed"),
        ("nothing", "[fail]", AttemptOutcome.SPEC_FAILED, "refuses every one as the eval.yaml asks it"),
    ],
)
def test_a_run_in_which_every_question_is_refused_says_whose_fault_that_is(
    tmp_path: Path, refuses: str, question: str, outcome: AttemptOutcome, said: str
) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--refuses", refuses)) as workbench:
        snapshot = _dataset(workbench, [{"question": question, "answer": "x"}] * 3)
        report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is outcome, report.detail
    assert said in report.detail
    assert "the stand-in was told to fail" in report.detail


def test_a_judge_that_grades_no_answer_leaves_a_measurement_without_a_score(workbench: Workbench) -> None:
    judge = {"template": "{question} {answer} {criterion} {instructions}", "instructions": "Say: no grade"}
    snapshot = _dataset(workbench, [SAY] * 3, _spec(scorers=[{"name": "model_graded_fact", "args": judge}]))
    report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert (report.measurement.score, report.measurement.standard_error) == (None, None)
    assert report.measurement.sample_scores == (None, None, None)
    assert report.detail == "of 3 answers none has a score: 3 got no number from the scorer"


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
    snapshot = _dataset(workbench, rows, _spec(scorers=[scorer]))
    report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.measurement is not None, report.detail
    assert report.measurement.thoughts == counted
    assert report.measurement.score == (0.5 if scorer["name"] == "includes" else 0.0)
    check_evidence(workbench.settings.evidence_url, report, None)
    forged = report.measurement.model_copy(update={"thoughts": counted + 1})
    with pytest.raises(EvidenceError, match=f"the log gives {counted} answers with thoughts before them"):
        check_evidence(workbench.settings.evidence_url, report.model_copy(update={"measurement": forged}), None)


def test_prompts_that_are_all_too_long_leave_a_measurement_without_a_score(workbench: Workbench) -> None:
    snapshot = _dataset(workbench, [{"question": "[too long]", "answer": "x"}] * 2)
    report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert (report.measurement.score, report.measurement.failed) == (None, 2)
    assert report.detail == "of 2 answers none has a score: 2 had a prompt too long for the engine's context"


def test_a_regular_expression_that_never_ends_is_the_specs_failure(workbench: Workbench) -> None:
    endless = _spec(scorers=[{"name": "pattern", "args": {"pattern": "(a+)+$"}}])
    first = _dataset(workbench, [{"question": f"Say: {'a' * 40}!", "answer": "x"}], endless, "endless")
    second = _dataset(workbench, [SAY], name="good")
    reports = _run(
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
    snapshot = _dataset(workbench, [{**row, "answer": "yes"} for row in rows])
    report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED, report.detail
    assert f"a message with {kind} that is no data URI" in report.detail
    asked = workbench.settings.cache_folder.parent / "asked"
    assert not asked.exists() or not asked.read_text()


def test_questions_none_of_which_is_multiple_choice_are_the_specs_failure(workbench: Workbench) -> None:
    field_spec = {"input": "question", "target": "answer", "choices": "options"}
    choosing = _spec(field_spec=field_spec, solvers=[{"name": "multiple_choice"}], scorers=[{"name": "choice"}])
    rows = {"empty": [], "one": ["x", "y"]}
    hidden = _dataset(workbench, [{**SAY, "answer": "A", "options": rows["empty"]}] * 3, choosing, "hidden")
    some = _dataset(
        workbench, [{"question": "Say: ANSWER: A", "answer": "A", "options": each} for each in rows.values()], choosing
    )
    reports = _run(
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
    snapshot = _dataset(workbench, [{**SAY, "answer": ""}] * 3, _spec(scorers=[{"name": "match"}]))
    report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED, report.measurement
    assert "the split test has no answers: column answer holds nothing in all of its 3 rows" in report.detail


def test_what_fails_for_the_model_fails_for_the_whole_batch_at_once(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    write_safetensors(model / "model.safetensors", cut_bytes=4)
    with bench(tmp_path, model, stand_in()) as workbench:
        snapshot = _dataset(workbench, [SAY])
        reports = _run(workbench, order(task_ref(snapshot), "r1"), order(task_ref(snapshot), "r2"))
        assert logs(tmp_path / "state" / "engine") == [], "no engine was started for it"
    assert [reports[name].outcome for name in ("r1", "r2")] == [AttemptOutcome.MODEL_FAILED] * 2
    assert "not a sound safetensors file" in reports["r2"].detail


def test_an_engine_that_will_not_start_says_so_with_its_last_words(tmp_path: Path) -> None:
    words = "the engine's last words"
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--last-words", words)) as workbench:
        snapshot = _dataset(workbench, [SAY])
        report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.ENGINE_FAILED
    assert words in report.detail


def test_an_engine_that_never_comes_up_is_given_up(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--never-up")) as workbench:
        snapshot = _dataset(workbench, [SAY])
        report = _run(workbench, order(task_ref(snapshot)), engine=EngineRules(start_seconds=1.0))["r1"]
    assert report.outcome is AttemptOutcome.ENGINE_FAILED
    assert "not up after 1 s" in report.detail


def test_a_hub_that_is_away_is_nobodys_fault(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench:
        snapshot = write_dataset(tmp_path / "unfetched", [SAY])
        report = _run(workbench, order(task_ref(snapshot, dataset_id="bench/unfetched")))["r1"]
    assert report.outcome is AttemptOutcome.HUB_AWAY


def test_a_hub_that_asks_for_patience_is_reported_with_how_much(tmp_path: Path) -> None:
    with (
        bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench,
        hub_that_says(429, Retry_After="77") as url,
    ):
        api = HfApi(endpoint=url, token=False)
        limited = replace(workbench, snapshots=replace(workbench.snapshots, api=api))
        snapshot = write_dataset(tmp_path / "unfetched", [SAY])
        report = _run(limited, order(task_ref(snapshot, dataset_id="bench/unfetched")))["r1"]
    assert (report.outcome, report.retry_after_seconds) == (AttemptOutcome.HUB_AWAY, 77)


def test_another_file_than_planned_for_is_not_run(workbench: Workbench) -> None:
    snapshot = _dataset(workbench, [SAY])
    planned = task_ref(snapshot)
    (snapshot / "eval.yaml").write_text((snapshot / "eval.yaml").read_text() + "# changed\n")
    report = _run(workbench, order(planned))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED
    assert planned.spec_sha256 in report.detail


def test_a_judge_that_policy_does_not_know_is_not_asked(workbench: Workbench) -> None:
    judged = _spec(scorers=[{"name": "model_graded_fact", "args": {"model": "openai/o3-mini"}}])
    own = _spec(scorers=[{"name": "model_graded_fact"}])
    first, second = _dataset(workbench, [SAY], judged, "judged"), _dataset(workbench, [SAY], own, "own")
    reports = _run(
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
    from workers.engines.engine_manager import EngineManager  # noqa: PLC0415 - a second one, for the judge

    manager = EngineManager(tmp_path / "judge", stand_in("--record", str(asked)))
    manager.api_key = "the judge's key"
    snapshot = workbench.settings.cache_folder.parent / "model" / "snapshots" / MODEL.revision
    engine = manager.engine_for(MODEL, snapshot, EngineRules(), 0)
    try:
        spec = _spec(
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
        dataset = _dataset(workbench, [SAY], spec)
        judge = JudgeEndpoint(base_url=engine.base_url, model="judge-2026", api_key_env="REPROFARM_JUDGE_KEY")
        report = _run(workbench, order(task_ref(dataset), judges={"openai/o3-mini": judge}))["r1"]
    finally:
        manager.stop()
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert report.measurement.score == 1.0
    assert report.measurement.circumstances.judges == {"openai/o3-mini": f"judge-2026 at {engine.base_url}"}
    assert '"model": "judge-2026"' in asked.read_text()
    assert "judge-2026" not in (tmp_path / "asked").read_text()


def test_every_answer_has_a_seed_of_its_own(workbench: Workbench, tmp_path: Path) -> None:
    snapshot = _dataset(workbench, [SAY, {"question": "Say: no", "answer": "yes"}], _spec(epochs=3))
    report = _run(workbench, order(task_ref(snapshot)))["r1"]
    assert report.measurement is not None, report.detail
    assert report.measurement.score == 0.5
    assert report.measurement.circumstances.epochs == 3
    asked = (tmp_path / "asked").read_text().splitlines()
    assert sorted(line.partition('"seed": ')[2].partition(",")[0] for line in asked) == ["10", "5", "6", "7", "8", "9"]


def test_fewer_epochs_than_the_specs_reducer_needs_are_refused(workbench: Workbench) -> None:
    snapshot = _dataset(workbench, [SAY], _spec(epochs=4, epoch_reducer="pass_at_2"))
    report = _run(workbench, order(task_ref(snapshot), epochs=1))["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED
    assert "requires 2 epochs however evaluation has only 1" in report.detail
