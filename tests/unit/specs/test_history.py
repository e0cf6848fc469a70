from __future__ import annotations

import numpy as np
import pytest

from specs.judging.history import LARGEST_COLUMNS, from_earlier_runs, from_same_claim
from specs.measurement import SampleId, Scores
from tests.support.stopping import finding, rule

N = 2000


def answers(runs: int, seed: int = 0) -> tuple[list[SampleId], list[Scores]]:
    """Models of unlike ability on questions of unlike ease."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0, 2, N)
    order: list[SampleId] = [f"q{place}" for place in range(N)]
    tables = [rng.random(N) < 1 / (1 + np.exp(-ease - rng.normal())) for _ in range(runs)]
    return order, [dict(zip(order, table.astype(float).tolist(), strict=True)) for table in tables]


def samples_used(order: list[SampleId], scores: Scores, history: list[Scores]) -> int:
    ours = [scores[sample] for sample in order]
    claimed = float(np.mean([score or 0.0 for score in ours]))
    stopping = rule(claimed, population=N, tolerance=0.05, predictors=from_earlier_runs(order, history))
    found = finding(stopping, ours)
    assert found.decision == "verified"
    return found.samples


def test_earlier_runs_of_other_models_save_samples() -> None:
    order, (ours, *others) = answers(9)
    assert samples_used(order, ours, others) < 0.8 * samples_used(order, ours, [])


def test_earlier_runs_that_stopped_early_help_as_far_as_they_go() -> None:
    order, (ours, *others) = answers(9)
    rng = np.random.default_rng(1)
    stopped: list[Scores] = [
        {order[place]: run[order[place]] for place in rng.permutation(N)[: N // 2]} for run in others
    ]
    assert samples_used(order, ours, others) < samples_used(order, ours, stopped) < samples_used(order, ours, [])


def test_runs_that_scored_next_to_nothing_are_left_out() -> None:
    order, (run,) = answers(1)
    assert from_earlier_runs(order, [{order[0]: 1.0}, dict.fromkeys(order)]) == ()
    assert from_earlier_runs(order, []) == ()
    assert len(from_earlier_runs(order, [{order[0]: 1.0}, run])) == 3


def test_only_the_runs_with_most_samples_get_a_predictor_of_their_own() -> None:
    order, runs = answers(LARGEST_COLUMNS + 5)
    assert len(from_earlier_runs(order, runs)) == LARGEST_COLUMNS + 2


def test_a_run_of_the_same_claim_saves_most() -> None:
    order, (ours, *others) = answers(9)
    rng = np.random.default_rng(1)
    linked = {sample: 1 - (score or 0.0) if rng.random() < 0.03 else score for sample, score in ours.items()}
    claimed = float(np.mean([score or 0.0 for score in ours.values()]))
    paired = rule(claimed, population=N, tolerance=0.05, predictors=from_same_claim(order, linked))
    found = finding(paired, [ours[sample] for sample in order])
    assert found.decision == "verified"
    assert found.samples < 0.8 * samples_used(order, ours, others)


def test_a_run_to_pair_with_must_be_whole() -> None:
    order, (ours,) = answers(1)
    with pytest.raises(ValueError, match="a score for every sample"):
        from_same_claim(order, {**ours, order[3]: None})
