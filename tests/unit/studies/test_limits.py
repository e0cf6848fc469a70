from __future__ import annotations

import numpy as np
import pytest

from deploy.studies.coverage import edge_total
from deploy.studies.limits import fewest_paired_samples, fewest_samples
from specs.judging.stopping_rule import Predictor
from tests.support.stopping import finding, right_or_wrong, rule

N, ALPHA, TOLERANCE = 1319, 0.01, 0.05


def test_a_true_claim_costs_more_than_the_limit_but_not_much_more() -> None:
    right = 660
    others = [edge_total(right / N, TOLERANCE, N, edge) for edge in ("just above", "just below")]
    limit = fewest_samples(N, right, others, ALPHA)
    stopping = rule(right / N, population=N, tolerance=TOLERANCE, alpha=ALPHA)
    used = [finding(stopping, right_or_wrong(N, right, seed)).samples for seed in range(150)]
    error = float(np.std(used)) / np.sqrt(len(used))
    assert limit < np.mean(used) + 3 * error < 1.15 * limit + 6 * error


def test_one_total_to_tell_apart_costs_less_than_two() -> None:
    assert fewest_samples(N, 660, [726], ALPHA) < fewest_samples(N, 660, [594, 726], ALPHA)


def test_the_limit_is_what_wald_says_where_the_population_is_large() -> None:
    # Log-likelihood ratio to cross, over its drift: Wald's bound for sampling with replacement.
    p, q = 0.5, 0.6
    drift = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    limit = fewest_samples(200_000, 100_000, [120_000], 0.001)
    assert limit == pytest.approx(np.log(1000) / drift, rel=0.05)


def test_a_paired_claim_costs_more_than_the_limit_of_its_differences() -> None:
    population, differ, tolerance = 2000, 60, 0.02
    limit = fewest_paired_samples(population, differ, round(tolerance * population) + 1, ALPHA)
    used = []
    for seed in range(60):
        ours = right_or_wrong(population, 800, seed)
        linked = np.array(ours)
        rng = np.random.default_rng(seed)
        for answer in (0, 1):
            linked[rng.choice(np.flatnonzero(np.array(ours) == answer), differ // 2, replace=False)] = 1 - answer
        pair = (Predictor(values=tuple(linked.tolist()), slope=1.0),)
        stopping = rule(0.4, population=population, tolerance=tolerance, alpha=ALPHA, predictors=pair)
        used.append(finding(stopping, ours).samples)
    error = float(np.std(used)) / np.sqrt(len(used))
    assert limit < np.mean(used) + 3 * error < 1.6 * limit
