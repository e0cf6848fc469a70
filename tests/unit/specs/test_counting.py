from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.judging import counting
from specs.judging.band import hypotheses
from specs.judging.counting import Counts, stopping_bounds


def column(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)[:, None]


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (3, 9), (20, 0), (12, 20)])
def test_evidence_is_the_ratio_of_the_chances_of_what_was_drawn(right: int, wrong: int) -> None:
    population = 60
    # Edges that are whole totals, so that the chances can be counted.
    tests = hypotheses(0.5, 0.1, population, 0.01)
    found = Counts(tests, population).log_evidence(column(right), column(wrong))[0]
    for test, edge in enumerate(np.rint(tests.edges).astype(int)):
        chances = [
            math.comb(int(total), right) * math.comb(population - int(total), wrong)
            for total in tests.alternatives[test]
        ]
        mixed = sum(chance * math.exp(weight) for chance, weight in zip(chances, tests.log_weights[test], strict=True))
        expected = math.log(mixed / (math.comb(edge, right) * math.comb(population - edge, wrong)))
        assert found[test] == pytest.approx(expected, abs=1e-6)


def test_of_a_population_without_a_table_the_evidence_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tests, drawn = hypotheses(0.5, 0.1, 300, 0.01), column(0, 20, 150)
    with_table = Counts(tests, 300).log_wealth(drawn, 150 - drawn)
    monkeypatch.setattr(counting, "MAX_TABLE", 299)
    monkeypatch.setattr(counting, "_log_factorials", None)
    assert np.array_equal(Counts(tests, 300).log_wealth(drawn, 150 - drawn), with_table)


@given(size=st.integers(4, 11), right=st.integers(0, 11), claimed=st.floats(0, 1), tolerance=st.floats(0.05, 0.5))
def test_wealth_against_a_true_hypothesis_does_not_grow(
    size: int, right: int, claimed: float, tolerance: float
) -> None:
    right = min(size, right)
    tests = hypotheses(claimed, tolerance, size, 0.05)
    true = np.where(tests.signs > 0, right >= tests.edges, right <= tests.edges)
    counts = Counts(tests, size)
    for drawn in range(size + 1):
        reached = np.arange(max(0, drawn - (size - right)), min(drawn, right) + 1, dtype=np.float64)
        chance = [math.comb(right, int(k)) * math.comb(size - right, drawn - int(k)) for k in reached]
        wealth = np.exp(counts.log_evidence(reached[:, None], drawn - reached[:, None]))
        mean = np.array(chance) @ np.where(true, wealth, 0.0) / math.comb(size, drawn)
        assert (mean <= 1 + 1e-9).all()


def test_no_order_of_a_small_population_is_judged_wrongly_more_often_than_alpha() -> None:
    size, right, alpha = 12, 8, 0.3
    tests = hypotheses(0.4, 0.2, size, alpha)
    bounds = stopping_bounds(tests, size, np.arange(1, size, dtype=np.float64))
    # 8 of 12 lie above the band, so a verdict of verified would be wrong.
    high = sum(
        any(taken <= bound for taken, bound in zip(np.cumsum(order)[:-1], bounds[:, 0], strict=True))
        for order in (
            [int(place in places) for place in range(size)] for places in itertools.combinations(range(size), right)
        )
    )
    assert 0 < high <= alpha * math.comb(size, right)


@given(size=st.integers(2, 400), claimed=st.floats(0, 1), tolerance=st.floats(0.01, 0.4), share=st.floats(0, 1))
def test_stopping_bounds_say_what_the_evidence_says(size: int, claimed: float, tolerance: float, share: float) -> None:
    tests = hypotheses(claimed, tolerance, size, 0.01)
    drawn = round(share * size)
    bounds = stopping_bounds(tests, size, np.array([float(drawn)]))[0]
    right = np.arange(drawn + 1, dtype=np.float64)[:, None]
    refutes = Counts(tests, size).log_evidence(right, drawn - right) >= tests.thresholds
    assert (refutes == np.where(tests.signs > 0, right <= bounds, right >= bounds)).all()
