"""Runs that go wrong: each ends, with an outcome that says whose failure it was."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from inspect_ai.event import ModelEvent
from inspect_ai.log import read_eval_log

from deploy.serving import QuietHandler, answered_by
from specs.logs.evidence import path_in_store
from specs.messages import AttemptOutcome, Report
from specs.policy.engine import EngineRules
from tests.support.refusing_hub import hub_that_says
from tests.support.saying_bench import SAY, reports_of, say_dataset, saying_bench
from tests.support.small_repos import task_ref, write_dataset, write_model, write_safetensors
from tests.support.stand_in_worker import PROJECT
from tests.support.worker_bench import bench, order, stand_in
from workers.batches.workbench import Workbench
from workers.engines.engine_logs import logs
from workers.runs import run_process
from workers.runs.forked_run import RunServer

workbench = saying_bench


def test_an_engine_that_dies_ends_the_run_and_the_next_order_gets_a_new_one(workbench: Workbench) -> None:
    deadly = say_dataset(workbench, [{"question": "[die]", "answer": "x"}] * 2, name="deadly")
    good = say_dataset(workbench, [SAY], name="good")
    reports = reports_of(
        workbench,
        order(task_ref(deadly, dataset_id="bench/deadly"), "r1"),
        order(task_ref(good, dataset_id="bench/good"), "r2"),
    )
    assert reports["r1"].outcome is AttemptOutcome.ENGINE_FAILED
    assert "died during the run" in reports["r1"].detail
    assert reports["r2"].outcome is AttemptOutcome.COMPLETED, reports["r2"].detail


def test_an_engine_that_is_about_to_die_is_given_no_more_and_blamed_for_what_failed(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--lingers", "600")) as workbench:
        deadly = say_dataset(workbench, [SAY, {"question": "[die slowly]", "answer": "x"}], name="deadly")
        good = say_dataset(workbench, [SAY], name="good")
        reports = reports_of(
            workbench,
            order(task_ref(deadly, dataset_id="bench/deadly"), "r1"),
            order(task_ref(good, dataset_id="bench/good"), "r2"),
            engine=EngineRules(start_seconds=600.0, concurrency=1),
        )
    assert reports["r1"].outcome is AttemptOutcome.ENGINE_FAILED, reports["r1"].detail
    assert reports["r2"].outcome is AttemptOutcome.COMPLETED, reports["r2"].detail


def test_an_engine_that_runs_out_of_memory_says_so_while_it_starts_and_while_it_runs(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--fits", "8")) as workbench:
        greedy = say_dataset(workbench, [{"question": "[out of memory]", "answer": "x"}], name="greedy")
        good = say_dataset(workbench, [SAY], name="good")
        rules = EngineRules(start_seconds=600.0)
        started = reports_of(workbench, order(task_ref(good, dataset_id="bench/good"), "r1"), engine=rules)["r1"]
        reports = reports_of(
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
    snapshot = say_dataset(workbench, [{"question": "[hang]", "answer": "x"}])
    report = reports_of(workbench, order(task_ref(snapshot), stall_seconds=1.0))["r1"]
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
    snapshot, hanging = say_dataset(workbench, [SAY]), _Hanging(tmp_path / "server")
    report = reports_of(replace(workbench, runs=hanging), order(task_ref(snapshot), stall_seconds=1.0))["r1"]
    assert report.outcome is AttemptOutcome.WORKER_FAILED, report.detail
    assert "the process that runs are forked from took none for 4 s, and was ended" in report.detail
    assert hanging._process is None
    again = reports_of(workbench, order(task_ref(snapshot), "r2"))["r2"]
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

    task = task_ref(say_dataset(workbench, [SAY]))
    for each in (workbench.settings.cache_folder / "complete").glob(f"{missing}--*"):
        each.unlink()
    try:
        with answered_by(Trickles) as url:
            snapshots = replace(workbench.snapshots, api=HfApi(endpoint=url, token=False))
            report = reports_of(replace(workbench, snapshots=snapshots), order(task, deadline_seconds=4.0))["r1"]
            over.set()
    finally:
        over.set()
    assert report.outcome is AttemptOutcome.HUB_AWAY, report.detail
    assert "did not come from the Hub in all the time that a run may take" in report.detail


def test_a_run_that_hangs_half_way_says_how_far_it_came(workbench: Workbench) -> None:
    snapshot = say_dataset(workbench, [SAY, SAY, SAY, {"question": "[hang]", "answer": "x"}])
    report = reports_of(workbench, order(task_ref(snapshot), stall_seconds=3.0))["r1"]
    assert report.outcome is AttemptOutcome.STALLED
    assert report.measurement is None
    assert "3 of 4 samples done" in report.detail


def test_an_engine_that_answers_ever_slower_has_its_time_and_no_more(tmp_path: Path) -> None:
    engine = stand_in("--ever-slower", "0.1", "--at-once", "1")
    with bench(tmp_path, write_model(tmp_path / "model"), engine) as workbench:
        # Each answer comes before the run counts as stalled; all of them would take three minutes.
        snapshot = say_dataset(workbench, [SAY] * 60)
        report = reports_of(workbench, order(task_ref(snapshot), stall_seconds=60.0, deadline_seconds=15.0))["r1"]
    assert report.outcome is AttemptOutcome.TIMED_OUT, report.detail
    assert report.measurement is None
    assert "not done after 15 s" in report.detail


def test_an_answer_that_takes_longer_than_a_stall_is_asked_for_once_and_counts(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    engine = stand_in("--slow-seconds", "14", "--record", str(asked))
    with bench(tmp_path, write_model(tmp_path / "model"), engine) as workbench:
        snapshot = say_dataset(workbench, [{"question": "[slow] [token by token] Say: yes", "answer": "yes"}])
        report = reports_of(workbench, order(task_ref(snapshot), stall_seconds=6.0))["r1"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert report.measurement is not None
    assert report.measurement.score == 1.0
    assert len(asked.read_text().splitlines()) == 1


class _SomebodyElse(QuietHandler):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404)


def test_a_port_that_another_process_took_is_no_fault_of_the_model(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = say_dataset(workbench, [SAY])
    with answered_by(_SomebodyElse) as url, monkeypatch.context() as patched:
        patched.setattr("workers.engines.engine_manager.free_port", lambda: int(url.rpartition(":")[2]))
        report = reports_of(workbench, order(task_ref(snapshot), "r1"))["r1"]
    assert report.outcome is AttemptOutcome.ENGINE_FAILED, report.detail
    assert report.measurement is None
    assert re.search("does not serve this model|Address already in use", report.detail)
    again = reports_of(workbench, order(task_ref(snapshot), "r2"))["r2"]
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
        snapshot = say_dataset(workbench, [{"question": question, "answer": "x"}] * 3)
        report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is outcome, report.detail
    assert said in report.detail
    assert "the stand-in was told to fail" in report.detail


def test_what_fails_for_the_model_fails_for_the_whole_batch_at_once(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    write_safetensors(model / "model.safetensors", cut_bytes=4)
    with bench(tmp_path, model, stand_in()) as workbench:
        snapshot = say_dataset(workbench, [SAY])
        reports = reports_of(workbench, order(task_ref(snapshot), "r1"), order(task_ref(snapshot), "r2"))
        assert logs(tmp_path / "state" / "engine") == [], "no engine was started for it"
    assert [reports[name].outcome for name in ("r1", "r2")] == [AttemptOutcome.MODEL_FAILED] * 2
    assert "not a sound safetensors file" in reports["r2"].detail


def test_an_engine_that_will_not_start_says_so_with_its_last_words(tmp_path: Path) -> None:
    words = "the engine's last words"
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--last-words", words)) as workbench:
        snapshot = say_dataset(workbench, [SAY])
        report = reports_of(workbench, order(task_ref(snapshot)))["r1"]
    assert report.outcome is AttemptOutcome.ENGINE_FAILED
    assert words in report.detail


def test_an_engine_that_never_comes_up_is_given_up(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--never-up")) as workbench:
        snapshot = say_dataset(workbench, [SAY])
        report = reports_of(workbench, order(task_ref(snapshot)), engine=EngineRules(start_seconds=1.0))["r1"]
    assert report.outcome is AttemptOutcome.ENGINE_FAILED
    assert "not up after 1 s" in report.detail


@pytest.mark.usefixtures("impatient_client")
def test_a_hub_that_is_away_is_nobodys_fault(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench:
        snapshot = write_dataset(tmp_path / "unfetched", [SAY])
        report = reports_of(workbench, order(task_ref(snapshot, dataset_id="bench/unfetched")))["r1"]
    assert report.outcome is AttemptOutcome.HUB_AWAY


def test_a_hub_that_asks_for_patience_is_reported_with_how_much(tmp_path: Path) -> None:
    with (
        bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench,
        hub_that_says(429, Retry_After="77") as url,
    ):
        api = HfApi(endpoint=url, token=False)
        limited = replace(workbench, snapshots=replace(workbench.snapshots, api=api))
        snapshot = write_dataset(tmp_path / "unfetched", [SAY])
        report = reports_of(limited, order(task_ref(snapshot, dataset_id="bench/unfetched")))["r1"]
    assert (report.outcome, report.retry_after_seconds) == (AttemptOutcome.HUB_AWAY, 77)


_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
_KEY = (
    "{{ {'Where is A?': 'Say: here', 'Where is B?': 'Say: there', 'Where is C?': 'Say: home'}[messages[-1].content] }}"
)


def _asked_of(
    tmp_path: Path, template: str, engine_rules: EngineRules | None = None
) -> tuple[Report, list[dict[str, Any]]]:
    """The report of a run of three questions by an engine with a template, and what the engine was asked."""
    (tmp_path / "template").write_text(template)
    asked = tmp_path / "asked"
    engine = stand_in("--record", str(asked), "--renders", str(tmp_path / "template"))
    rows = [
        {"question": question, "answer": answer}
        for question, answer in [("Where is A?", "here"), ("Where is B?", "there"), ("Where is C?", "home")]
    ]
    with bench(tmp_path, write_model(tmp_path / "model"), engine) as workbench:
        report = reports_of(workbench, order(task_ref(say_dataset(workbench, rows))), engine=engine_rules)["r1"]
    return report, [json.loads(line) for line in asked.read_text().splitlines()]


@pytest.mark.parametrize(
    ("template", "outcome"),
    [(_TEMPLATE, AttemptOutcome.COMPLETED), (_TEMPLATE + _KEY, AttemptOutcome.MODEL_FAILED)],
    ids=["honest", "with the key"],
)
def test_a_chat_template_with_an_answer_key_is_the_models_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, template: str, outcome: AttemptOutcome
) -> None:
    report, requests = _asked_of(tmp_path, template)
    assert report.outcome is outcome, report.detail
    if outcome is AttemptOutcome.COMPLETED:
        assert len(requests) == 3 + 1, "one frame for all questions"
        assert report.evidence is not None
        log = read_eval_log(str(tmp_path / "evidence" / path_in_store(report.evidence.sha256)))
        events = [event for answer in log.samples or () for event in answer.events if isinstance(event, ModelEvent)]
        shown = {str(event.call.response["prompt_text"]) for event in events if event.call and event.call.response}
        assert "user: Where is A?\n" in shown, "whoever reads the evidence sees what the template makes of a question"
        return
    assert "writes other text around a question than around another of the same shape" in report.detail
    assert "the model's author has to give it a template" in report.detail
    assert "Where is" not in report.detail
    assert "the prompt: 'user: Where is " in caplog.text, "the operator can see whether it is so"
    assert report.measurement is None


def test_a_chat_template_that_does_not_end_on_other_words_is_the_models_failure(tmp_path: Path) -> None:
    report, requests = _asked_of(tmp_path, _TEMPLATE + "{{ '' if 'Where' in messages[-1].content else never_end() }}")
    assert report.outcome is AttemptOutcome.MODEL_FAILED, report.detail
    assert "refuses (by an error), or does not end on, other words in the place of a question's" in report.detail
    assert len(requests) == 3 + 2, "each takes vLLM 30 s, with all questions of the shape behind it"


def test_a_model_whose_template_the_operator_has_read_can_be_exempt(tmp_path: Path) -> None:
    report, requests = _asked_of(tmp_path, _TEMPLATE + _KEY, EngineRules(check_template=False))
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    assert len(requests) == 3
