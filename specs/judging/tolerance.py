"""How wide a tolerance is at least, and by how much chance moves a score."""

from __future__ import annotations

import math

LEAST_TOLERANCE = 0.01
NORMAL_95, NORMAL_99 = 1.96, 2.576
"""Two-sided quantiles of the normal distribution at 95 % and 99 %."""

COARSEST = 0.005
"""Half of a whole percent: no claim is taken to be rounded further. YAML reads `0.70` as 0.7, and whoever writes `1`
must not mean everything from a half on."""

RULE_OF_THREE = 3.0
"""Over n: the share that may be missing from n answers in 95 of 100 although none was (Hanley and Lippman-Hand, "If
nothing goes wrong, is everything all right?", 1983)."""


def chance_of_coins(score: float, answers: int) -> float:
    """Half-width of the normal 95 % interval of a score of so many answers, as a proportion: 1.96·√(c(1−c)/n).

    Each answer is taken for the toss of a coin that is right as often as the score says (`variance_of_coin`).
    """
    return NORMAL_95 * math.sqrt(variance_of_coin(score, answers) / answers)


def variance_of_coin(score: float, answers: int) -> float:
    """Variance c(1−c) of the toss of a coin that is right as often as a score of so many answers says.

    It is no surer than so many answers can show: c is not taken to be nearer to 0 or 1 than 3/n. The formula would have
    it that a model which got all of 30 questions right gets them all right again.
    """
    least = min(0.5, RULE_OF_THREE / answers)
    chance = min(max(score, least), 1 - least)
    return chance * (1 - chance)


def chance_between_runs(score: float, claimed_on: int, answers: int) -> float:
    """By how much two honest runs of so many answers differ at most in 99 of 100, as a proportion, by the same coins.

    Each has chance of its own, so the variances add.
    """
    return NORMAL_99 / NORMAL_95 * math.hypot(chance_of_coins(score, claimed_on), chance_of_coins(score, answers))


def rounding_of(claimed: float) -> float:
    """By how much a claimed proportion may differ from the score that was rounded to it: half a unit of its last digit.

    At most `COARSEST`.
    """
    # Twelve places: 71.3 as a percentage need not be 0.713 to the last bit.
    digits = len(f"{claimed:.12f}".rstrip("0").partition(".")[2])
    return min(COARSEST, 0.5 * 10.0**-digits)


def measured_tolerance(spread: float) -> float:
    """The tolerance, as a proportion, of policy's `measured`: what 95 of 100 honest re-runs differ by at most.

    `spread` is the standard deviation of the difference between two honest full runs.
    """
    return min(1.0, max(LEAST_TOLERANCE, NORMAL_95 * spread))
