from __future__ import annotations

import numpy as np
import pytest

from deploy.studies.coverage import EDGES, Edge, edge_total, wrong_answers
from specs.judging.sequential import full_run_decision
from tests.support.stopping import finding, right_or_wrong, rule

CASES = [(0.4, 0.07, 198), (0.6, 0.03, 1319)]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(("claimed", "tolerance", "population"), CASES)
def test_looking_after_every_sample_errs_no_more_often_than_alpha(
    claimed: float, tolerance: float, population: int, edge: Edge
) -> None:
    alpha, sequences = 0.05, 1000
    found = wrong_answers(claimed, tolerance, population, alpha, edge, sequences)
    assert 0 < found.probability <= alpha
    # The draws agree with what was computed: four standard deviations.
    slack = 4 * np.sqrt(sequences * found.probability)
    assert abs(found.wrong - sequences * found.probability) <= slack


@pytest.mark.parametrize(("edge", "decision"), [(EDGES[0], "mismatch"), (EDGES[1], "verified"), (EDGES[3], "mismatch")])
def test_the_edges_lie_where_the_direct_comparison_changes(edge: Edge, decision: str) -> None:
    right = edge_total(0.4, 0.07, 198, edge)
    assert full_run_decision(right / 198, 0.4, 0.07) == decision


def test_what_is_measured_is_what_the_farm_decides() -> None:
    claimed, tolerance, population, alpha = 0.5, 0.1, 120, 0.2
    found = wrong_answers(claimed, tolerance, population, alpha, "just above", 250)
    right = edge_total(claimed, tolerance, population, "just above")
    stopping = rule(claimed, population=population, tolerance=tolerance, alpha=alpha, minimum_samples=1)
    wrong = sum(
        finding(stopping, right_or_wrong(population, right, seed)).decision == "verified" for seed in range(250)
    )
    assert abs(wrong - 250 * found.probability) <= 4 * np.sqrt(250 * found.probability)
