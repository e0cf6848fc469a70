"""Batches from the first order to the last report; only the engine is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from specs.messages import AttemptOutcome, Stage
from specs.policy.generation import GenerationSettings
from specs.processes import envelopes
from tests.support.small_repos import task_ref, write_dataset, write_model
from tests.support.worker_bench import batch_of, bench, engine_words, order, remember_snapshot, run, stand_in

MISBEHAVING = [
    {"question": "[fail]", "answer": "x"},
    {"question": "[too long]", "answer": "x"},
    {"question": "[long] Say: x", "answer": "x"},
    {"question": "[empty]", "answer": "x"},
]


def test_two_orders_share_an_engine_and_each_gets_its_report(tmp_path: Path) -> None:
    rows = [{"question": f"{i}? Say: {i}", "answer": str(i) if i % 2 else "no"} for i in range(12)]
    first, second = (write_dataset(tmp_path / name, data) for name, data in (("a", rows), ("b", rows + MISBEHAVING)))
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in("--record", str(tmp_path / "asked"))) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/a", first)
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/b", second)
        heard = run(
            workbench,
            batch_of(
                order(task_ref(first, dataset_id="bench/a"), "r1", generation=GenerationSettings(temperature=0.0)),
                order(task_ref(second, dataset_id="bench/b"), "r2"),
            ),
        )
        engine_log = engine_words(workbench)
    assert engine_log.count("stand-in up") == 1, "the second order found the engine warm"
    one, two = heard.reports["r1"], heard.reports["r2"]
    assert one.outcome is AttemptOutcome.COMPLETED, one.detail
    assert one.measurement is not None
    assert one.measurement.score == 0.5
    assert sorted(map(int, one.measurement.sample_ids)) == list(range(1, 13))
    assert one.measurement.sample_ids != tuple(range(1, 13)), "samples stand in a random order"
    assert two.outcome is AttemptOutcome.COMPLETED, two.detail
    assert two.measurement is not None
    assert two.measurement.failed == 2, "a refused request is no wrong answer"
    assert (two.measurement.truncated, two.measurement.unparsed) == (1, 1)
    assert one.evidence is not None
    stored = tmp_path / "evidence" / one.evidence.sha256[:2] / f"{one.evidence.sha256}.eval"
    assert workbench.engines.api_key not in read_eval_log(str(stored)).model_dump_json(), "evidence gets published"
    assert {Stage.WAITING, Stage.FETCHING, Stage.STARTING_ENGINE, Stage.RUNNING} <= set(heard.stages)
    assert heard.beats
    assert list((workbench.settings.state_folder / "runs").iterdir()) == [], "nothing is left behind"
    copies = list(workbench.settings.cache_folder.rglob("hf_datasets"))
    assert copies == [], "a copy that a kill left half-written would fail every later run that shares it"


def test_a_report_that_nobody_would_read_says_so_and_keeps_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": f"{i}? Say: {i}", "answer": str(i)} for i in range(12)]
    data = write_dataset(tmp_path / "a", rows)
    # Of its body there is room for a refusal, and not for twelve samples with all their circumstances.
    monkeypatch.setattr(envelopes, "MAX_CONTROL_BYTES", envelopes.AROUND_BODY_BYTES + 1500)
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench:
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/a", data)
        report = run(workbench, batch_of(order(task_ref(data, dataset_id="bench/a"), "r1"))).reports["r1"]
    assert report.outcome is AttemptOutcome.SPEC_FAILED
    assert "the run was done, and its report takes some" in report.detail
    assert envelopes.why_unreadable(report.encode(), "control") is None
    (stored,) = (tmp_path / "evidence").rglob("*.eval")
    assert f"kept as evidence {stored.stem}" in report.detail
