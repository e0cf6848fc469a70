"""The tolerances that nobody chose, and what is called a mismatch, held against honest runs, counted exactly."""

from __future__ import annotations

import itertools
import math
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.studies.honest_runs import chances
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
from specs.judging.tolerance import chance_between_runs, chance_of_coins, rounding_of
from specs.logs.scoring import reduced

COIN = 0.19
"""Two runs of a coin differ by √2 times as much as one from its mean: 1.96/√2 standard deviations are left out by 17 in
100, and whole answers add a little."""


WORST = 0.03
"""What 99 of 100 differ by at most is that of the normal distribution, by the claimed score instead of the true one."""


def claim(claimed: float, tolerance: float | None = None) -> JudgedClaim:
    return JudgedClaim(claim_id="c", claimed=claimed, tolerance=tolerance)


def population(samples: int, epochs: int = 1) -> Population:
    return Population(samples=samples, epochs=epochs, targets_sha256="a" * 64)


@pytest.mark.parametrize("samples", [12, 20, 30, 100, 198, 500])
@pytest.mark.parametrize("right", [0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999])
def test_an_honest_claim_of_a_high_score_misses_its_tolerance_no_more_often_than_one_of_half(
    samples: int, right: float
) -> None:
    # Both runs toss the same coin for each question: no model differs more from itself.
    totals = np.arange(samples + 1)
    likely = np.array([math.comb(samples, k) * right**k * (1 - right) ** (samples - k) for k in totals.tolist()])
    scores = totals / samples
    tolerances = np.array([tolerance_for(claim(float(score)), samples) for score in scores])
    missed = np.abs(scores[None, :] - scores[:, None]) > tolerances[:, None] + EDGE
    assert likely @ missed @ likely < COIN


@pytest.mark.parametrize("samples", [12, 20, 30, 100, 198, 500, 1319, 14_042])
@pytest.mark.parametrize("right", [0.01, 0.05, 0.2, 0.5, 0.7, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995])
def test_no_honest_claim_is_called_a_mismatch_for_how_its_model_tosses_coins(samples: int, right: float) -> None:
    # Whole answers add to what the normal distribution leaves out, most where few are right.
    assert chances(samples, right, None).mismatch < WORST


@pytest.mark.parametrize("samples", [30, 198, 1319, 14_042])
@pytest.mark.parametrize(("right", "differing"), [(0.5, 0.1), (0.5, 0.25), (0.95, 0.05), (0.05, 0.05)])
def test_a_model_that_repeats_most_answers_is_called_a_mismatch_next_to_never(
    samples: int, right: float, differing: float
) -> None:
    assert chances(samples, right, differing).mismatch < 0.001


@pytest.mark.parametrize("samples", [198, 1319, 14_042])
@pytest.mark.parametrize("tolerance", [0.005, 0.02, 0.05])
def test_a_narrow_tolerance_of_policy_makes_no_more_mismatches_of_honest_claims(samples: int, tolerance: float) -> None:
    for claimed in (0.1, 0.37, 0.5):
        beyond = doubtful_beyond(claim(claimed, tolerance), population(samples)) or tolerance
        assert beyond >= chance_between_runs(claimed, samples, samples)


@pytest.mark.parametrize(
    ("claimed", "rounding"),
    [
        # As percentages 71.3, 72 and 1.2532; nothing tells 70 from 70.0, nor 0.7 from 0.70.
        (71.3 / 100, 0.0005),
        (72 / 100, 0.005),
        (1.2532 / 100, 0.0000005),
        (70 / 100, 0.005),
        (0.7, 0.005),
        (0.715, 0.0005),
        (1e-05, 0.000005),
        (1.0, 0.005),
        (0.0, 0.005),
        (0.2828282828, 0.00000000005),
        (1 / 3, 0.0),
    ],
)
def test_a_claim_may_be_off_by_half_of_its_last_digit_and_no_more_than_half_a_percent(
    claimed: float, rounding: float
) -> None:
    assert rounding_of(claimed) == pytest.approx(rounding, abs=1e-12)


@given(percent=st.decimals(0, 100, places=3))
def test_how_a_percentage_was_rounded_is_read_from_its_proportion(percent: Decimal) -> None:
    digits = max(0, -int(percent.normalize().as_tuple().exponent))
    assert rounding_of(float(percent) / 100) == pytest.approx(0.005 / 10**digits, abs=1e-12)


def test_a_score_that_was_rounded_is_no_mismatch_for_that() -> None:
    # Greedy answers that nearly all repeat, under a tolerance of half a point: 71.49 was written as 71.
    spread = 0.0005
    whole = JudgedClaim(claim_id="c", claimed=0.71, tolerance=0.005, spread=spread)
    exact = whole.model_copy(update={"claimed": 0.7149})
    assert doubtful_beyond(whole, population(14_042)) == pytest.approx(2.576 * spread + 0.005)
    assert doubtful_beyond(exact, population(14_042)) is None
    # It buys no badge: what is verified is what the tolerance says.
    assert tolerance_for(whole, 14_042) == tolerance_for(exact, 14_042) == 0.005


def test_all_right_is_no_surer_than_so_many_questions_can_show() -> None:
    # 27 of 30 at the least: 1.96 √(0.1 · 0.9 / 30).
    for end in (0.0, 1.0):
        assert tolerance_for(claim(end), 30) == pytest.approx(0.1074, abs=1e-4)
    # Nobody says of how many epochs a claim is.
    both = math.hypot(chance_of_coins(1.0, 30), chance_of_coins(1.0, 120))
    assert noise_of(claim(1.0), population(30, epochs=4)) == pytest.approx(2.576 / 1.96 * both)
    # A policy of two points does not make a mismatch of one wrong answer where all were right.
    assert doubtful_beyond(claim(1.0, 0.02), population(30)) == pytest.approx(2.576 * math.sqrt(0.006) + 0.005)
    # On many questions it is a point, as ever.
    assert tolerance_for(claim(1.0), 1319) == 0.01


def test_epochs_that_sample_what_the_others_do_take_nothing_from_chance() -> None:
    repeating = population(198, epochs=16).model_copy(update={"epochs_repeat": True})
    assert noise_of(claim(0.5), repeating) == noise_of(claim(0.5), population(198))
    assert noise_of(claim(0.5), repeating) > 1.3 * noise_of(claim(0.5), population(198, epochs=16))


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
        likely = chance**right * (1 - chance) ** (epochs - right)
        mean = likely @ scores
        variance = likely @ (scores - mean) ** 2
        assert variance <= mean * (1 - mean) / averaged + 1e-12
    assert averaged == {"mean": epochs, "pass_at_1": epochs, "pass_at_2": 2}.get(reducer, 1)


def test_epochs_of_which_one_right_is_enough_leave_as_much_to_chance_as_one() -> None:
    each = claim(0.5, 0.04)
    often, any_right = population(198, 4), population(198, 4).model_copy(update={"reducer": "at_least_1"})
    assert noise_of(each, often) < noise_of(each, any_right) == noise_of(each, population(198))
    assert what_would_decide(each, any_right) == "a tolerance of 13.45 points would decide"


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
    named = re.fullmatch(r"a tolerance of ([\d.]+) points would decide", words)
    assert named is not None, words
    wide = each.model_copy(update={"tolerance": min(1.0, float(named[1]) / 100 + EDGE)})
    assert doubtful_beyond(wide, population(samples, epochs)) is None
