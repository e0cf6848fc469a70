"""The real engine with a real small model."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scheduler.judging.evidence import check_evidence
from specs.logs.evidence import path_in_store
from specs.logs.run_log import RunLog
from specs.measurement import Evidence
from specs.messages import AttemptOutcome, AttemptRef, AttemptsAlive, Report
from specs.policy.generation import GenerationSettings
from tests.e2e.conftest import GREEDY, RULES, engine_starts
from tests.support.capitals import CAPITALS, capitals_dataset
from tests.support.engines import engines
from tests.support.small_repos import task_ref, write_dataset
from tests.support.worker_bench import MODEL, Heard, batch_of, engine_words, order, remember_snapshot, run
from workers.batches.batch import BatchRun
from workers.batches.messenger import Messenger
from workers.batches.workbench import Workbench
from workers.engines.engine_environment import vllm_cache
from workers.engines.engine_logs import logs
from workers.engines.engine_metrics import engine_figures
from workers.engines.engine_process import EngineCommand
from workers.engines.model_inspection import NOT_FORKED
from workers.runs.generation import VLLM_DEFAULTS

pytestmark = pytest.mark.e2e


def test_two_orders_run_side_by_side_on_one_engine_and_score_alike(workbench: Workbench, tmp_path: Path) -> None:
    dataset = capitals_dataset(tmp_path / "capitals")
    remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/capitals", dataset)
    task = task_ref(dataset, "capitals", "bench/capitals")
    orders = [order(task, each, generation=GREEDY) for each in ("r1", "r2")]
    reports = run(workbench, batch_of(*orders, engine=RULES, side_by_side=2))
    first, second = (reports.reports[name] for name in ("r1", "r2"))
    assert first.outcome is AttemptOutcome.COMPLETED, first.detail
    assert second.outcome is AttemptOutcome.COMPLETED, second.detail
    assert engine_starts(workbench) == 1, "both used the same engine"
    assert first.measurement is not None
    assert second.measurement is not None
    assert first.measurement.score is not None
    assert first.measurement.score > 0.4, "the model knows some capitals"
    assert first.measurement.failed == 0
    assert first.measurement.circumstances.versions["vllm"].startswith("0.32.0")
    assert min(first.measurement.engine_share, second.measurement.engine_share) < 1.0
    assert first.measurement.sample_ids == second.measurement.sample_ids


def test_sampled_answers_do_not_fall_out_alike(workbench: Workbench, tmp_path: Path) -> None:
    ask = "Which word describes {}? A) warm B) cold C) large D) small. Answer with one letter only."
    rows = [{"question": ask.format(each), "answer": "A"} for each in [*CAPITALS, *CAPITALS.values()]]
    dataset = write_dataset(tmp_path / "letters", rows)
    remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/letters", dataset)
    sampled = GenerationSettings(temperature=1.0, max_tokens=2)
    one = order(task_ref(dataset, dataset_id="bench/letters"), "r6", generation=sampled)
    report = run(workbench, batch_of(one, engine=RULES)).reports["r6"]
    assert report.evidence is not None, report.detail
    stored = Path(workbench.settings.evidence_url.removeprefix("file://")) / path_in_store(report.evidence.sha256)
    with RunLog(stored) as log:
        begun = Counter(answer.output.completion.strip()[:1] for answer in log.answers())
    assert begun.total() == len(rows)
    # With one seed for all, one letter begins four in five.
    assert begun.most_common(1)[0][1] < len(rows) / 2, begun


def test_a_run_that_is_told_to_stop_is_gone_on_with_and_no_answer_is_asked_twice(
    workbench: Workbench, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "tales", [{"question": f"Tell tale {n}.", "answer": "end"} for n in range(60)])
    remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/tales", dataset)
    long = GenerationSettings(temperature=0.0, max_tokens=32)
    first = order(task_ref(dataset, dataset_id="bench/tales"), "r4", generation=long)
    heard = Heard()

    def hear(message: AttemptsAlive | Report) -> None:
        heard.hear(message)
        if isinstance(message, AttemptsAlive) and message.progress[0].samples_done >= 16:
            workbench.stop_mark.set()

    batch = batch_of(first, engine=RULES)
    with Messenger(batch, workbench.name, "cpu", hear) as messenger:
        BatchRun(batch, workbench, messenger).run()
    workbench.stop_mark.clear()
    back = heard.reports["r4"]
    assert back.outcome is AttemptOutcome.HANDED_BACK, back.detail
    assert back.partial is not None, back.detail
    assert 16 <= back.partial.answers < 60
    resume = Evidence(sha256=back.partial.sha256, size_bytes=back.partial.size_bytes)
    again = first.model_copy(update={"ref": AttemptRef(reproduction_id="r4", attempt=2), "resume": resume})
    report = run(workbench, batch_of(again, engine=RULES)).reports["r4"]
    assert report.measurement is not None, report.detail
    assert len(report.measurement.scored) == 60
    assert report.measurement.resumed is not None
    assert report.measurement.resumed.answers == back.partial.answers
    check_evidence(workbench.settings.evidence_url, report, None)


def test_a_forked_engine_is_the_one_that_the_command_would_be(workbench: Workbench, tmp_path: Path) -> None:
    snapshot = workbench.snapshots.model(MODEL)
    workbench.engines.engine_for(MODEL, snapshot, RULES, 0)
    by_command = engines(tmp_path / "command", EngineCommand())
    try:
        by_command.engine_for(MODEL, snapshot, RULES, 0)
    finally:
        by_command.stop()
    forked, command = (
        _what_it_is(folder) for folder in (workbench.settings.state_folder / "engine", tmp_path / "command")
    )
    assert forked == command
    assert "enforce_eager=True" in command[1]
    # The one by vLLM itself, in a process of its own.
    looked_at, by_vllm = (
        _what_its_class_is(folder) for folder in (workbench.settings.state_folder / "engine", tmp_path / "command")
    )
    assert looked_at == by_vllm
    assert NOT_FORKED not in engine_words(workbench)
    assert by_vllm["vllm-model_executor-models-llama-LlamaForCausalLM.json"]["modelinfo"]["is_text_generation_model"]


def _what_it_is(folder: Path) -> tuple[str, ...]:
    """What the last engine that wrote to a folder said of its arguments and its configuration."""
    words = logs(folder)[-1].read_text()
    found = (
        re.search(r"non-default args: (.*)", words),
        re.search(r"Initializing a V1 LLM engine \S+ with config: (.*)", words),
    )
    # The port, and where it compiles to, which is in its own folder.
    return tuple(
        re.sub(r"'port': \d+", "", each.group(1)).replace(str(folder), "") for each in found if each is not None
    )


def _what_its_class_is(folder: Path) -> dict[str, Any]:
    """What vLLM found of the classes of models in the cache of a folder's engines."""
    return {each.name: json.loads(each.read_bytes()) for each in (vllm_cache(folder) / "modelinfos").iterdir()}


def test_what_a_worker_asks_of_the_engines_metrics_is_there(workbench: Workbench, tmp_path: Path) -> None:
    dataset = capitals_dataset(tmp_path / "asked")
    remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/asked", dataset)
    one = order(task_ref(dataset, "capitals", "bench/asked"), "r7", generation=GREEDY, sample_limit=1)
    report = run(workbench, batch_of(one, engine=RULES)).reports["r7"]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    found = engine_figures(workbench.engines.engine_for(MODEL, tmp_path, RULES, 0).base_url)
    assert found is not None
    assert found.waiting == 0
    assert found.generated is not None
    assert found.generated > 0


def test_our_copy_of_vllms_sampling_defaults_is_still_right() -> None:
    from vllm.entrypoints.openai.chat_completion.protocol import (  # noqa: PLC0415 - takes 20 s
        ChatCompletionRequest,
    )

    theirs = ChatCompletionRequest._DEFAULT_SAMPLING_PARAMS.default
    assert {**theirs, "max_tokens": None} == VLLM_DEFAULTS
