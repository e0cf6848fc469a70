"""How wide a tolerance is at least, and by how much chance moves a score."""

from __future__ import annotations

import math

LEAST_TOLERANCE = 0.01
NORMAL_95 = 1.96
"""Two-sided quantile of the normal distribution at 95 %."""


RULE_OF_THREE = 3.0
"""Over n: the share that may be missing from n answers in 95 of 100 although none was (Hanley and Lippman-Hand, "If
nothing goes wrong, is everything all right?", 1983)."""


def chance_of_coins(score: float, answers: int) -> float:
    """Half-width of the normal 95 % interval of a score of so many answers, as a proportion: 1.96·√(c(1−c)/n).

    Each answer is taken for the toss of a coin that is right as often as the score says, and no surer than so many
    answers can show: c is not taken to be nearer to 0 or 1 than 3/n. The formula would have it that a model which got
    all of 30 questions right gets them all right again.
    """
    least = min(0.5, RULE_OF_THREE / answers)
    chance = min(max(score, least), 1 - least)
    return NORMAL_95 * math.sqrt(chance * (1 - chance) / answers)


def measured_tolerance(spread: float) -> float:
    """The tolerance, as a proportion, of policy's `measured`: what 95 of 100 honest re-runs differ by at most.

    `spread` is the standard deviation of the difference between two honest full runs.
    """
    return min(1.0, max(LEAST_TOLERANCE, NORMAL_95 * spread))
