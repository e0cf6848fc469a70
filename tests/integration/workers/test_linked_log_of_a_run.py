"""The log of a whole run, linked to by a claim, is about the very samples that a worker counts."""

from __future__ import annotations

from pathlib import Path

from specs.judging.sample_order import seeded_order
from specs.judging.stopping import JudgedClaim, LinkedTo, Stopping
from specs.judging.stopping_rule import Predictor
from specs.logs.evidence import path_in_store
from specs.logs.linked_log import LinkedLogReading, held_against
from specs.logs.linked_log_file import read_linked_log
from specs.messages import AttemptOutcome, Report
from tests.support.small_repos import SAY_SPEC, task_ref, write_dataset, write_model
from tests.support.worker_bench import batch_of, bench, order, remember_snapshot, run, stand_in

N = 160
SCORES = [float(number % 4 > 0) for number in range(1, N + 1)]
ROWS = [
    {"question": f"{number}? Say: {number}", "answer": str(number) if score else "no"}
    for number, score in enumerate(SCORES, start=1)
]


def stopping(reading: LinkedLogReading | None) -> Stopping:
    """For a true claim, with the log's scores as predictions where there is one, in the order of the seed 5."""
    log = reading.log if reading is not None else None
    values = tuple(log.scores[sample - 1] for sample in seeded_order(range(1, N + 1), 5)) if log else ()
    return Stopping(
        claims=(JudgedClaim(claim_id="c", claimed=0.75, tolerance=0.15),),
        alpha=0.001,
        minimum_samples=20,
        maximum_failed_fraction=0.02,
        predictors=(Predictor(values=values, slope=1.0),) if log else (),
        linked=LinkedTo(log_sha256=log.sha256, targets_sha256=log.targets_sha256) if log else None,
    )


def test_the_log_of_one_run_predicts_another(tmp_path: Path) -> None:
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench:
        snapshot = write_dataset(tmp_path / "say", ROWS, SAY_SPEC)
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)

        def ran(name: str, rule: Stopping | None) -> Report:
            report = run(workbench, batch_of(order(task_ref(snapshot), name, stopping=rule))).reports[name]
            assert report.outcome is AttemptOutcome.COMPLETED, report.detail
            return report

        whole = ran("whole", None)
        assert whole.evidence is not None
        log = tmp_path / "evidence" / path_in_store(whole.evidence.sha256)
        reading = read_linked_log(log, "https://hub.test/o/m/blob/main/l.eval", 75.0, "percent", lambda: False)
        assert reading.log is not None, reading.reason
        assert list(reading.log.scores) == SCORES
        alone, guided = (ran(name, stopping(each)).measurement for name, each in (("alone", None), ("guided", reading)))
    assert alone is not None
    assert guided is not None
    assert guided.circumstances.same_prompts is True
    assert guided.targets_sha256 == reading.log.targets_sha256
    assert len(guided.sample_ids) < 0.8 * len(alone.sample_ids)
    use = held_against(reading, stopping(reading), guided)
    assert (use.used, use.differing, use.suspicious) == (True, 0.0, False)


SHUFFLED = {
    **SAY_SPEC,
    "tasks": [
        {
            **SAY_SPEC["tasks"][0],
            "field_spec": {"input": "question", "target": "answer", "choices": "choices"},
            "solvers": [{"name": "multiple_choice"}],
            "scorers": [{"name": "choice"}],
            "shuffle_choices": True,
        }
    ],
}


def test_a_log_of_a_run_that_shuffled_the_choices_otherwise_is_about_the_same_samples(tmp_path: Path) -> None:
    rows = [
        {"question": f"{n}? Say: ANSWER: B", "answer": "A", "choices": [f"{each} of {n}" for each in "wxyz"]}
        for n in range(1, 41)
    ]
    with bench(tmp_path, write_model(tmp_path / "model"), stand_in()) as workbench:
        snapshot = write_dataset(tmp_path / "say", rows, SHUFFLED)
        remember_snapshot(workbench.settings.cache_folder, "dataset", "bench/say", snapshot)
        orders = (order(task_ref(snapshot), f"seed-{seed}", seed=seed) for seed in (5, 6))
        one, other = (run(workbench, batch_of(each)).reports[each.ref.reproduction_id] for each in orders)
    assert one.measurement is not None, one.detail
    assert other.measurement is not None, other.detail
    assert one.measurement.sample_scores != other.measurement.sample_scores
    assert one.evidence is not None
    assert one.measurement.score is not None
    log = tmp_path / "evidence" / path_in_store(one.evidence.sha256)
    claimed = 100 * one.measurement.score
    reading = read_linked_log(log, "https://hub.test/o/m/blob/main/l.eval", claimed, "percent", lambda: False)
    assert reading.log is not None, reading.reason
    assert reading.log.targets_sha256 == other.measurement.targets_sha256
    assert other.measurement.circumstances.same_prompts is False
    use = held_against(reading, stopping(None), other.measurement)
    assert (use.compared, use.suspicious) == (40, False)
