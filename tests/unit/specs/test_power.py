from __future__ import annotations

import numpy as np
import pytest

from specs.judging.power import SimulatedRuns, simulated, simulated_runs
from tests.support.stopping import finding, right_or_wrong, rule

N = 1319


@pytest.mark.parametrize("true_score", [0.6, 0.5, 0.35])
def test_the_forecast_is_what_runs_then_cost(true_score: float) -> None:
    stopping = rule(0.6, population=N, tolerance=0.04)
    right = round(true_score * N)
    used = [finding(stopping, right_or_wrong(N, right, seed)).samples for seed in range(120)]
    (forecast,) = simulated(stopping, (true_score,))
    # Four standard errors of the runs' mean, and the looks that the forecast leaves out.
    slack = 4 * float(np.std(used)) / np.sqrt(len(used)) + 0.01 * forecast.mean_samples
    assert abs(forecast.mean_samples - np.mean(used)) < slack


def test_a_claim_on_the_edge_of_its_tolerance_costs_nearly_all() -> None:
    (forecast,) = simulated(rule(0.6, population=N, tolerance=0.04), (0.56,))
    assert forecast.mean_samples > 0.95 * N


def test_what_becomes_of_the_claim_is_forecast_too() -> None:
    stopping = rule(0.6, population=N, tolerance=0.04)
    right, wrong = simulated(stopping, (0.6, 0.5))
    assert right.verified > 0.99
    assert wrong.verified < 0.01


def test_a_run_for_several_claims_takes_what_the_longest_of_them_takes() -> None:
    def runs(*claimed: float) -> SimulatedRuns:
        stopping = rule(*claimed, population=N, tolerance=0.04)
        return simulated_runs(stopping, (0.6,), runs=400, looks_apart=1.02)[0]

    # By other draws for each, the longest of them would be longer.
    below, above = runs(0.59), runs(0.62)
    assert np.array_equal(runs(0.59, 0.62).samples, np.maximum(below.samples, above.samples))
    assert (below.samples > above.samples).any()


def test_a_benchmark_smaller_than_the_minimum_is_run_whole() -> None:
    (forecast,) = simulated(rule(0.5, population=8, tolerance=0.1), (0.5,))
    assert forecast.mean_samples == 8
