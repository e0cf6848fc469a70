"""Lower limits: the fewest samples with which any test at all could give a right answer, on average.

A test that stops after T ≤ N samples and gives the right answer when the full run's total is `truth`, and gives that
same answer with probability alpha at most when the total is any of `others`, cannot have a mean of T below

    min over stopping times of E_truth[T] + Σ λ_j · P_j(stops before N)  −  alpha · Σ λ_j        for every λ ≥ 0

(weak duality: the constraint's part is negative for every valid test). The minimum is found by backward induction over
all that could have been drawn. No test beats it, sequential or not, not even one that is told the truth beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from specs.judging.band import Floats

WIDTH = 7.0
"""Standard deviations of the number right that are followed; what lies outside changes nothing that is shown."""

ONE_OTHER, TWO_OTHERS, TWO_PAIRED = 0.9, 0.3, 0.5
"""λ, in parts of fixed-n samples / (alpha · log 1/alpha). Any gives a limit; those, found by trial, about the best."""


def fewest_samples(population: int, truth: int, others: Sequence[int], alpha: float) -> float:
    """Lower limit on the mean number of samples for right-or-wrong scores; `truth` and `others` are numbers right."""
    log_factorial = _log_factorials(population)
    fixed = fixed_samples(population, truth, min(abs(each - truth) for each in others), alpha)
    horizon = min(population, int(8 * fixed) + 200)
    part = ONE_OTHER if len(others) == 1 else TWO_OTHERS
    multiplier = float(part * fixed / (alpha * np.log(1 / alpha)))
    cost = _induction(population, truth, others, multiplier, horizon, log_factorial)
    return cost - alpha * multiplier * len(others)


def fixed_samples(population: int, truth: int, distance: int, alpha: float) -> float:
    """Samples after which the evidence against a total so far from the truth reaches 1/alpha on average.

    By the normal approximation; the evidence grows with n/(1 − n/N).
    """
    share = truth / population
    infinite = 2 * np.log(1 / alpha) * share * (1 - share) / (distance / population) ** 2
    return float(infinite / (1 + infinite / population))


def _induction(
    population: int, truth: int, others: Sequence[int], multiplier: float, horizon: int, log_factorial: Floats
) -> float:
    """Least E[T] + λ·ΣP, by going back from the horizon, at which stopping is a gift: that can only lower the limit."""
    first_right, cost = 0, np.zeros(0)
    for drawn in range(horizon, -1, -1):
        right = _plausible(population, truth, drawn)
        if drawn == horizon:
            first_right, cost = int(right[0]), np.full(len(right), float(horizon))
            continue
        known = _log_probability(population, truth, drawn, right, log_factorial)
        stop = drawn + multiplier * sum(
            np.exp(np.minimum(_log_probability(population, each, drawn, right, log_factorial) - known, 600.0))
            for each in others
        )
        next_right = (truth - right) / (population - drawn)
        at = np.clip(right - first_right, 0, len(cost) - 1)
        after = np.clip(right + 1 - first_right, 0, len(cost) - 1)
        cost = np.minimum(stop, next_right * cost[after] + (1 - next_right) * cost[at])
        first_right = int(right[0])
    return float(cost[0])


def _plausible(population: int, truth: int, drawn: int) -> Any:
    share = truth / population
    spread = WIDTH * np.sqrt(drawn * share * (1 - share) * (population - drawn) / population) + 3
    low = max(0, drawn - (population - truth), int(drawn * share - spread))
    return np.arange(low, min(drawn, truth, int(drawn * share + spread)) + 1)


def _log_probability(population: int, total: int, drawn: int, right: Any, log_factorial: Floats) -> Floats:
    """Of one order of `right` among `drawn`, where `total` of the population are right."""
    right_left, wrong_left = total - right, population - drawn - total + right
    possible = (right_left >= 0) & (wrong_left >= 0)
    value = (
        log_factorial[population - drawn]
        - log_factorial[np.where(possible, right_left, 0)]
        - log_factorial[np.where(possible, wrong_left, 0)]
        - (log_factorial[population] - log_factorial[total] - log_factorial[population - total])
    )
    return np.where(possible, value, -np.inf)


def fewest_paired_samples(population: int, differ: int, distance: int, alpha: float) -> float:
    """Lower limit for a test of the differences to a linked log, of which half of `differ` go each way.

    The other totals are those with `distance` more differences one way than the other, at the rates that are hardest
    to tell from the truth.
    """
    log_factorial = _log_factorials(population)
    rate, gap = differ / population, distance / population
    stake = min(np.linspace(0.01, 1 / (1 + gap) - 0.01, 400), key=lambda b: -_growth(b, rate, gap))
    up = round(population * rate / 2 / (1 - stake * (1 - gap)))
    fixed = np.log(1 / alpha) / _growth(stake, rate, gap)
    fixed = fixed / (1 + fixed / population)
    multiplier = float(TWO_PAIRED * fixed / (alpha * np.log(1 / alpha)))
    counts, horizon = (differ // 2, up, up - distance), min(population, int(3.5 * fixed))
    return _paired_induction(population, counts, multiplier, horizon, log_factorial) - 2 * alpha * multiplier


def _growth(stake: float, rate: float, gap: float) -> float:
    """Of log wealth with each sample, where differences are −1, 0, 1 with mean 0 and the bet is on less than `gap`."""
    return float(
        (1 - rate) * np.log1p(stake * gap) + rate / 2 * (np.log1p(-stake * (1 - gap)) + np.log1p(stake * (1 + gap)))
    )


def _paired_induction(
    population: int, counts: tuple[int, int, int], multiplier: float, horizon: int, log_factorial: Floats
) -> float:
    half, many, few = counts
    share = half / population
    largest = int(horizon * share + WIDTH * np.sqrt(horizon * share)) + 3
    up, down = np.meshgrid(np.arange(largest + 1), np.arange(largest + 1), indexing="ij")

    def log_probability(ups: int, downs: int, drawn: int) -> Floats:
        left = (ups - up, downs - down, population - drawn - (ups - up) - (downs - down))
        possible = (left[0] >= 0) & (left[1] >= 0) & (left[2] >= 0)
        ways = np.sum([log_factorial[np.where(possible, each, 0)] for each in left], axis=0)
        whole = log_factorial[ups] + log_factorial[downs] + log_factorial[population - ups - downs]
        return np.where(possible, whole - ways, -np.inf)

    cost = np.full(up.shape, float(horizon))
    for drawn in range(horizon - 1, -1, -1):
        known = log_probability(half, half, drawn)
        more, less = log_probability(many, few, drawn), log_probability(few, many, drawn)
        with np.errstate(invalid="ignore"):
            others = np.exp(np.minimum(more - known, 600.0)) + np.exp(np.minimum(less - known, 600.0))
        stop = drawn + multiplier * np.nan_to_num(others)
        left = population - drawn
        rise, fall = np.clip((half - up) / left, 0, 1), np.clip((half - down) / left, 0, 1)
        higher, lower = np.vstack([cost[1:], cost[-1:]]), np.hstack([cost[:, 1:], cost[:, -1:]])
        cost = np.minimum(stop, rise * higher + fall * lower + (1 - rise - fall) * cost)
    return float(cost[0, 0])


def _log_factorials(largest: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, largest + 1)))])
