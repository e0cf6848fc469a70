"""The tolerances that nobody chose, held against honest re-runs, whose chances are counted exactly."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.epochs import answers_averaged
from specs.judging.band import EDGE
from specs.judging.stopping import (
    JudgedClaim,
    Population,
    doubtful_beyond,
    noise_of,
    tolerance_for,
    what_would_decide,
)
from specs.judging.tolerance import chance_of_coins
from specs.logs.scoring import reduced

COIN = 0.19
"""Two runs of a coin differ by √2 times as much as one from its mean: 1.96/√2 standard deviations are left out by 17 in
100, and whole answers add a little."""


def claim(claimed: float, tolerance: float | None = None) -> JudgedClaim:
    return JudgedClaim(claim_id="c", claimed=claimed, tolerance=tolerance)


def population(samples: int, epochs: int = 1) -> Population:
    return Population(samples=samples, epochs=epochs, targets_sha256="a" * 64)


@pytest.mark.parametrize("samples", [12, 20, 30, 100, 198, 500])
@pytest.mark.parametrize("right", [0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999])
def test_an_honest_claim_of_a_high_score_is_called_a_mismatch_no_more_often_than_one_of_half(
    samples: int, right: float
) -> None:
    # Both runs toss the same coin for each question: no model differs more from itself.
    totals = np.arange(samples + 1)
    chances = np.array([math.comb(samples, k) * right**k * (1 - right) ** (samples - k) for k in totals.tolist()])
    scores = totals / samples
    tolerances = np.array([tolerance_for(claim(float(score)), samples) for score in scores])
    mismatches = np.abs(scores[None, :] - scores[:, None]) > tolerances[:, None] + EDGE
    assert chances @ mismatches @ chances < COIN


def test_all_right_is_no_surer_than_so_many_questions_can_show() -> None:
    # 27 of 30 at the least: 1.96 √(0.1 · 0.9 / 30).
    for end in (0.0, 1.0):
        assert tolerance_for(claim(end), 30) == pytest.approx(0.1074, abs=1e-4)
    assert noise_of(claim(1.0), population(30, epochs=4)) == pytest.approx(chance_of_coins(1.0, 120))
    # A policy of two points does not make a mismatch of one wrong answer where all were right.
    assert doubtful_beyond(claim(1.0, 0.02), population(30)) == pytest.approx(0.1274, abs=1e-4)
    # On many questions it is a point, as ever.
    assert tolerance_for(claim(1.0), 1319) == 0.01


@pytest.mark.parametrize(
    "reducer", ["mean", "pass_at_1", "pass_at_2", "pass_at_4", "at_least_1", "at_least_2", "mode", "median", "max"]
)
@pytest.mark.parametrize("epochs", [4, 5])
def test_epochs_take_from_chance_what_their_reducer_averages_and_no_more(reducer: str, epochs: int) -> None:
    # Every outcome of a question whose epochs are tosses of one coin, reduced by Inspect.
    outcomes = list(itertools.product([0.0, 1.0], repeat=epochs))
    scores = np.array([reduced(outcome, reducer) for outcome in outcomes], dtype=np.float64)
    right = np.array([sum(outcome) for outcome in outcomes])
    averaged = answers_averaged(epochs, reducer)
    for chance in (0.05, 0.3, 0.5, 0.8, 0.97):
        chances = chance**right * (1 - chance) ** (epochs - right)
        mean = chances @ scores
        variance = chances @ (scores - mean) ** 2
        assert variance <= mean * (1 - mean) / averaged + 1e-12
    assert averaged == {"mean": epochs, "pass_at_1": epochs, "pass_at_2": 2}.get(reducer, 1)


def test_epochs_of_which_one_right_is_enough_leave_as_much_to_chance_as_one() -> None:
    each = claim(0.5, 0.04)
    often, any_right = population(198, 4), population(198, 4).model_copy(update={"reducer": "at_least_1"})
    assert doubtful_beyond(each, often) is None
    assert doubtful_beyond(each, any_right) == doubtful_beyond(each, population(198))
    assert what_would_decide(each, any_right) == "a tolerance of 6.97 points would decide"


@given(score=st.floats(0, 1), answers=st.integers(1, 20_000))
def test_chance_is_the_binomials_but_for_scores_near_the_ends(score: float, answers: int) -> None:
    found = chance_of_coins(score, answers)
    plain = 1.96 * math.sqrt(score * (1 - score) / answers)
    assert found == pytest.approx(chance_of_coins(1 - score, answers), abs=1e-9)
    assert plain - 1e-12 <= found <= 0.98
    if answers > 6 and 3 / answers <= score <= 1 - 3 / answers:
        assert found == plain


@given(
    claimed=st.floats(0, 1),
    tolerance=st.floats(0.0005, 0.2),
    samples=st.integers(2, 3000),
    epochs=st.integers(1, 8),
    spread=st.none() | st.floats(0, 0.5),
)
def test_what_is_said_to_decide_would_decide(
    claimed: float, tolerance: float, samples: int, epochs: int, spread: float | None
) -> None:
    each = JudgedClaim(claim_id="c", claimed=claimed, tolerance=tolerance, spread=spread)
    if doubtful_beyond(each, population(samples, epochs)) is None:
        return
    words = what_would_decide(each, population(samples, epochs))
    named = re.fullmatch(r"a tolerance of ([\d.]+) points(?: or (\d+) epochs)? would decide", words)
    assert named is not None, words
    wide = each.model_copy(update={"tolerance": min(1.0, float(named[1]) / 100 + EDGE)})
    assert doubtful_beyond(wide, population(samples, epochs)) is None
    if named[2] is not None:
        often = population(samples, int(named[2]))
        assert noise_of(each, often) <= tolerance + EDGE
