"""Do two runs differ by more than two honest runs of one model would? docs/decisions/0010."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOISE = 0.15
"""Part of its answers in which one model, decoded greedily, may differ from itself on other hardware."""

SIGNIFICANCE = 1e-4
"""The chance at most that an honest log is called suspicious."""

LEAST_COMPARED = 20
"""Samples; fewer say too little about anybody."""

# What is left of a sum whose terms shrink.
_NEGLIGIBLE = 1e-12


def is_suspicious(differences: Sequence[float], noise: float) -> bool:
    """Whether absolute differences of the scores of samples, each in [0, 1], are far more than `noise` explains."""
    return len(differences) >= LEAST_COMPARED and chance_of(differences, noise) <= SIGNIFICANCE


def noise_of_sampled(ours: float, theirs: float) -> float:
    """The mean difference up to which two runs of one model can differ where answers were sampled.

    A sample that the model gets right with chance p differs with chance 2p(1 − p). That is concave in p, so over all
    samples it is 2m(1 − m) at most for a mean score m: as much as between runs that have nothing but m in common.
    """
    mean = (ours + theirs) / 2
    return max(NOISE, 2 * mean * (1 - mean))


def chance_of(differences: Sequence[float], noise: float) -> float:
    """An upper bound on the chance of differences that add up to so much, if they are `noise` on average.

    Exact for right-or-wrong scores that differ independently with that probability: the tail of the binomial
    distribution, which also bounds those that differ with unlike ones (Hoeffding, "On the distribution of the number of
    successes in independent trials", 1956). For others exp(−n·KL(mean ‖ noise)): Hoeffding, "Probability inequalities
    for sums of bounded random variables", 1963, Theorem 1. `noise` lies between 0 and 1.
    """
    count, total = len(differences), math.fsum(differences)
    if total <= noise * count:
        return 1.0
    if all(each in (0.0, 1.0) for each in differences):
        return _binomial_tail(count, round(total), noise)
    return math.exp(-count * _divergence(min(total / count, 1.0), noise))


def _binomial_tail(count: int, least: int, chance: float) -> float:
    """P(X ≥ least) for `least` above the mean, where every term is smaller than the one before."""
    term = math.exp(
        math.lgamma(count + 1)
        - math.lgamma(least + 1)
        - math.lgamma(count - least + 1)
        + least * math.log(chance)
        + (count - least) * math.log1p(-chance)
    )
    tail = 0.0
    for hits in range(least, count + 1):
        tail += term
        if term <= _NEGLIGIBLE * tail:
            break
        term *= (count - hits) / (hits + 1) * chance / (1 - chance)
    return min(tail, 1.0)


def _divergence(mean: float, noise: float) -> float:
    """Kullback and Leibler's, between coins."""
    rest = 0.0 if mean == 1 else (1 - mean) * math.log((1 - mean) / (1 - noise))
    return mean * math.log(mean / noise) + rest
