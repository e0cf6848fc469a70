"""Evidence from samples that are right or wrong: a number right of a number drawn says all."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from specs.judging.band import Floats, Hypotheses, certainties, log_mixture

HALF_LOG_TWO_PI = 0.5 * np.log(2 * np.pi)

MAX_TABLE = 100_000
"""Factorials that are kept for a population: 0.8 MB. Of a larger one, which a dataset's card or whoever asks for a plan
may make up, each is worked out when it is needed."""


class Counts:
    """Tests a claim on 0/1 scores drawn without replacement in random order.

    The wealth of an alternative K against an edge E is the ratio of the probabilities of what was drawn from a
    population with K right and from one with E right. Under E it is a martingale, under a total beyond E a
    supermartingale, so by Ville's inequality it ever reaches 1/alpha with probability alpha at most. A weighted mean
    over alternatives is the prior-posterior-ratio martingale with those weights as prior (Waudby-Smith and Ramdas,
    "Confidence sequences for sampling without replacement", 2020, Theorem 2.1), here one-sided.

    The ratio is a product of bets linear in each score, so it bounds the error also where scores that have yet to be
    drawn lie between 0 and 1.
    """

    def __init__(self, tests: Hypotheses, population: int) -> None:
        self._tests = tests
        self._population = float(population)
        self._factorials = _log_factorials(population) if population <= MAX_TABLE else None
        self._whole_edges = self._log_orders(tests.edges, 0.0, 0.0)
        whole = self._log_whole_orders(0.0, 0.0)
        self._whole_alternatives = np.where(np.isfinite(whole), whole + tests.log_weights, -np.inf)

    def log_wealth(self, right: Floats, wrong: Floats) -> Floats:
        """(B, T, J) of each alternative, weighted, after `right` and `wrong` answers; each (B, 1), or (B, T) by test.

        Meaningless where arithmetic has already settled a test: see `band.certainties`.
        """
        edges = self._log_orders(self._tests.edges, right, wrong)
        alternatives = self._log_whole_orders(right[..., None], wrong[..., None])
        open_ = np.isfinite(edges)
        hypothesis = np.where(open_, self._whole_edges, 0.0) - np.where(open_, edges, 0.0)
        return np.asarray(self._whole_alternatives - alternatives - hypothesis[:, :, None])

    def log_evidence(self, right: Floats, wrong: Floats) -> Floats:
        """(B, T) log wealth of each test; +inf where its hypothesis has become impossible."""
        certain = certainties(self._tests, right, self._population - right - wrong)
        return np.where(certain == 0, log_mixture(self.log_wealth(right, wrong)), certain)

    def _log_orders(self, totals: Floats, right: Floats | float, wrong: Floats | float) -> Floats:
        """Log of k!·m! for the k right and m wrong answers left, +inf where one is fewer than none.

        What was drawn has a probability in inverse proportion to it, so only its growth from the start matters.
        """
        return _log_factorial(totals - right) + _log_factorial(self._population - totals - wrong)

    def _log_whole_orders(self, right: Floats | float, wrong: Floats | float) -> Floats:
        """The same of the alternatives, which are whole: there are many of them, and their factorials are looked up."""
        totals = self._tests.alternatives
        return self._looked_up(totals - right) + self._looked_up(self._population - totals - wrong)

    def _looked_up(self, x: Floats) -> Floats:
        if self._factorials is None:
            return _log_factorial(x)
        # What is beyond the population is of an alternative that has less than none of the other kind: +inf in all.
        return self._factorials.take((x + 1).astype(np.intp), mode="clip")


def stopping_bounds(tests: Hypotheses, population: int, drawn: Floats) -> Floats:
    """(B, T) The number right at which each test refutes after `drawn` (B,) samples.

    At most so many where the test's sign is +1 (−1 where not even none would do), at least so many where it is −1
    (one more than drawn where not even all would do). Evidence is monotone in the number right, so this is all of it.
    """
    counts = Counts(tests, population)
    upward = tests.signs > 0
    # Bisection on the number of answers of the kind that makes the evidence weaker, from −1 (refuted) upwards.
    high = np.repeat(drawn[:, None], len(tests.edges), axis=1)
    low = np.full_like(high, -1.0)
    while (low < high).any():
        middle = np.ceil((low + high) / 2)
        right = np.where(upward, middle, drawn[:, None] - middle)
        refutes = counts.log_evidence(right, drawn[:, None] - right) >= tests.thresholds
        low, high = np.where(refutes, middle, low), np.where(refutes, high, middle - 1)
    return np.where(upward, low, drawn[:, None] - low)


@lru_cache(maxsize=16)
def _log_factorials(largest: int) -> Floats:
    """Of −1 and each whole number up to the largest, −1 at place 0."""
    return _log_factorial(np.arange(-1.0, largest + 1, dtype=np.float64))


def _log_factorial(x: Floats) -> Floats:
    """Log of the gamma function of x + 1, to 1e-11; +inf for x ≤ −1.

    Stirling's series (Abramowitz and Stegun, 6.1.41) from x + 8 on. NumPy has none, and this alone would need SciPy.
    """
    possible = x > -1
    x = np.where(possible, x, 0.0)
    below = (x + 1) * (x + 2) * (x + 3) * (x + 4) * (x + 5) * (x + 6) * (x + 7)
    y = x + 8
    square = 1 / (y * y)
    series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))) / y
    value = (y - 0.5) * np.log(y) - y + HALF_LOG_TWO_PI + series - np.log(below)
    return np.where(possible, value, np.inf)
