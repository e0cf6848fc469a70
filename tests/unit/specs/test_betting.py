from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.judging.band import hypotheses
from specs.judging.betting import FIRST_STEP, Bettor
from specs.judging.stopping_rule import Predictor
from tests.support.stopping import finding, right_or_wrong, rule

SIZE = 5
proportions = st.floats(0, 1)
populations = st.lists(proportions, min_size=SIZE, max_size=SIZE)


@settings(max_examples=60)
@given(
    scores=populations, ease=populations, slope=st.floats(-3, 3), claimed=proportions, tolerance=st.floats(0.05, 0.6)
)
def test_wealth_against_a_true_hypothesis_does_not_grow_whatever_is_predicted(
    scores: list[float], ease: list[float], slope: float, claimed: float, tolerance: float
) -> None:
    tests = hypotheses(claimed, tolerance, SIZE, 0.05)
    total = sum(scores)
    # A hair inside, where float sums decide which side a total is on.
    true = np.where(tests.signs > 0, total >= tests.edges + 1e-9, total <= tests.edges - 1e-9)
    wealth = np.zeros((SIZE, len(true)))
    orders = list(itertools.permutations(range(SIZE)))
    for order in orders:
        places = list(order)
        features = np.array(ease)[places, None]
        bettor = Bettor(tests, claimed, features, np.array([slope]))
        found = bettor.log_evidence(np.arange(SIZE), np.array(scores)[places])
        wealth += np.exp(np.where(true, found, -np.inf))
    assert (wealth / len(orders) <= 1 + 1e-6).all()


def test_a_refit_comes_before_the_first_verdict_could() -> None:
    assert FIRST_STEP < 20


def test_bets_err_no_more_often_than_alpha_at_the_band_edge() -> None:
    population, alpha, sequences = 198, 0.05, 400
    rng = np.random.default_rng(7)
    # One more right than the band of 0.4 ± 0.1 holds: verified is wrong.
    right, wrong = 100, 0
    ease = np.where(np.arange(population) < right, 0.9, 0.1)
    for _ in range(sequences):
        order = rng.permutation(population)
        told = rng.random(population) < ease[order]
        predictors = _predictor(told.astype(np.float64).tolist())
        found = finding(
            rule(0.4, population=population, tolerance=0.1, alpha=alpha, predictors=predictors),
            (order < right).astype(np.float64).tolist(),
        )
        wrong += found.decision == "verified"
    # Four standard deviations above alpha: one in thirty thousand by chance.
    assert wrong <= sequences * alpha + 4 * np.sqrt(sequences * alpha)


def test_good_predictions_save_samples_and_bad_ones_cost_few() -> None:
    population = 4000
    scores = right_or_wrong(population, 1600)
    rng = np.random.default_rng(1)
    good = [float(np.clip(0.25 + 0.5 * score + rng.normal(0, 0.1), 0, 1)) for score in scores]
    plain, helped, misled = (
        finding(rule(0.4, population=population, tolerance=0.03, predictors=predictors), scores)
        for predictors in ((), _predictor(good), _predictor(rng.random(population).tolist()))
    )
    assert {each.decision for each in (plain, helped, misled)} == {"verified"}
    assert helped.samples < 0.6 * plain.samples
    assert misled.samples < 1.1 * plain.samples


def test_a_made_up_log_costs_samples_and_changes_no_verdict() -> None:
    population = 4000
    scores = right_or_wrong(population, 1600)
    # Its mean is the claim, ten points above the truth, and its answers have nothing to do with ours.
    made_up = _predictor(right_or_wrong(population, 2000, seed=9))
    inflated = finding(rule(0.5, population=population, predictors=made_up), scores)
    true = finding(rule(0.4, population=population, predictors=made_up), scores)
    assert (inflated.decision, true.decision) == ("mismatch", "verified")


def _predictor(values: list[float]) -> tuple[Predictor, ...]:
    return (Predictor(values=tuple(values), slope=1.0),)
