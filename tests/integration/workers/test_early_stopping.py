"""Runs that stop by themselves: what they count does not depend on what the engine answers first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalSample, read_eval_log

from scheduler.judging.evidence import check_evidence
from specs.judging.decision import population_of
from specs.judging.sample_order import seeded_order
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping import JudgedClaim, Stopping, stopping_rule
from specs.logs.evidence import path_in_store
from specs.logs.scoring import first_score
from specs.measurement import Measurement
from specs.messages import AttemptOutcome, Report
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from tests.support.small_repos import SAY_SPEC, task_ref, write_dataset, write_model
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run, stand_in
from workers.batches.flow_control import first_limit
from workers.batches.workbench import Workbench

N = 160
SLOW = "2"
EASY = "28"
"""Of 32 questions at once, so many easy ones are answered before hard ones have all the places."""

SCORES = [float(number % 2) for number in range(1, N + 1)]
ROWS = [
    {"question": f"{number}? {'' if score else '[slow] '}Say: {number}", "answer": str(number) if score else "no"}
    for number, score in enumerate(SCORES, start=1)
]
ORDERED = [SCORES[sample_id - 1] for sample_id in seeded_order(range(1, N + 1), 5)]


def stopping(*claimed: float, tolerance: float = 0.2) -> Stopping:
    return Stopping(
        claims=tuple(JudgedClaim(claim_id=str(each), claimed=each, tolerance=tolerance) for each in claimed),
        alpha=0.001,
        minimum_samples=20,
        maximum_failed_fraction=0.02,
    )


@contextmanager
def asking(folder: Path, *engine: str) -> Iterator[Workbench]:
    with bench(folder, write_model(folder / "model"), stand_in("--slow-seconds", SLOW, *engine)) as opened:
        snapshot = write_dataset(folder / "say", ROWS, SAY_SPEC)
        remember_snapshot(opened.settings.cache_folder, "dataset", "bench/say", snapshot)
        yield opened


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with asking(tmp_path_factory.mktemp("bench")) as opened:
        yield opened


def ran(workbench: Workbench, rule: Stopping | None, name: str, **more: Any) -> Report:
    folder = workbench.settings.cache_folder.parent / "say"
    (snapshot,) = (folder / "snapshots").iterdir()
    report = run(workbench, batch_of(order(task_ref(snapshot), name, stopping=rule, **more))).reports[name]
    assert report.outcome is AttemptOutcome.COMPLETED, report.detail
    check_evidence(workbench.settings.evidence_url, report, rule)
    return report


def measured(report: Report) -> Measurement:
    assert report.measurement is not None
    return report.measurement


def logged(workbench: Workbench, report: Report) -> list[EvalSample]:
    assert report.evidence is not None
    store = Path(workbench.settings.evidence_url.removeprefix("file://"))
    return read_eval_log(str(store / path_in_store(report.evidence.sha256))).samples or []


def answers_of(rule: Stopping, report: Report, scores: list[float]) -> tuple[int, list[str]]:
    """After how many of these scores the rule stops, and with which answers."""
    decider = SequentialDecider(stopping_rule(rule, population_of(measured(report))))
    decider.feed(scores)
    return decider.seen, [finding.decision for finding in decider.findings()]


def test_an_engine_that_answers_easy_questions_first_does_not_shift_the_verdict(tmp_path: Path) -> None:
    rule = stopping(0.9)
    with asking(tmp_path, "--slow-after", EASY) as workbench:
        report = ran(workbench, rule, "biased")
        samples = logged(workbench, report)
    found = measured(report)
    seen, answers = answers_of(rule, report, ORDERED)
    assert answers == ["mismatch"]
    assert found.sample_scores == tuple(ORDERED[:seen])
    by_completion = sorted(samples, key=lambda each: each.completed_at or "")
    as_they_came = [first_score(each) or 0.0 for each in by_completion]
    assert answers_of(rule, report, as_they_came)[1] == ["verified"], "counted as they came, they would have passed"


def test_a_run_stops_when_every_claim_has_its_answer_and_ignores_what_was_in_flight(workbench: Workbench) -> None:
    one, two = stopping(0.5, tolerance=0.3), stopping(0.5, 0.95, tolerance=0.3)
    alone, shared = ran(workbench, one, "alone"), ran(workbench, two, "shared")
    assert measured(alone).sample_scores == tuple(ORDERED[: answers_of(one, alone, ORDERED)[0]])
    seen, answers = answers_of(two, shared, ORDERED)
    assert answers == ["verified", "mismatch"]
    assert measured(shared).sample_scores == tuple(ORDERED[:seen])
    assert len(measured(alone).sample_ids) < seen < N
    samples = logged(workbench, shared)
    assert len(samples) == seen + measured(shared).ignored < N
    assert {each.id for each in samples} > set(measured(shared).sample_ids)


def test_a_sample_counts_when_all_its_epochs_are_answered(workbench: Workbench) -> None:
    rule = stopping(0.95)
    report = ran(workbench, rule, "epochs", epochs=2)
    found = measured(report)
    assert found.circumstances.epochs == 2
    assert found.sample_scores == tuple(ORDERED[: answers_of(rule, report, ORDERED)[0]])
    samples = logged(workbench, report)
    counted = [each for each in samples if each.id in found.sample_ids]
    assert len(counted) == 2 * len(found.sample_ids)
    assert len(samples) - len(counted) <= 2 * first_limit(EngineRules().concurrency), (
        "more than what was in flight was asked"
    )


def test_epochs_that_repeat_one_another_are_one_toss_to_the_run_as_well(workbench: Workbench) -> None:
    # Taken for another toss, the second epoch would have the run stop earlier.
    rule = stopping(0.7, tolerance=0.05)
    report = ran(workbench, rule, "greedy", epochs=2, generation=GenerationSettings(temperature=0.0))
    found = measured(report)
    assert found.circumstances.epochs == 2
    assert found.sample_scores == tuple(ORDERED[: answers_of(rule, report, ORDERED)[0]])


def test_a_run_that_finds_no_answer_before_its_limit_counts_all_up_to_it(workbench: Workbench) -> None:
    report = ran(workbench, stopping(0.5, tolerance=0.01), "limited", sample_limit=30)
    assert measured(report).sample_scores == tuple(ORDERED[:30])
    assert measured(report).ignored == 0
