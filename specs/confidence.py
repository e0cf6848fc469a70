"""Bounds on the score of a full run from a random part of its samples.

Anytime-valid: the bounds hold at every sample count at once, so it does not matter when, or how often, one looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from scipy.special import betaln, gammaln

from specs.verdict import Interval


def interval_for_full_run(scores: Sequence[float], population: int, alpha: float, claimed: float) -> Interval | None:
    """Bounds on the mean of all `population` scores, from `scores` drawn without replacement in random order.

    For 0/1 scores, by the prior-posterior-ratio martingale (Waudby-Smith and Ramdas, "Confidence sequences for
    sampling without replacement", 2020, Theorem 2.1) over the number right K of N: K stays in the set while
    prior(K)/posterior(K) < 1/alpha. The ratio is the marginal likelihood of the sample over its hypergeometric
    likelihood under K. The prior, beta-binomial around the claim, moves only how soon a claim is decided.

    None for scores other than 0 and 1, for which this says nothing.
    """
    values = np.asarray(scores, dtype=float)
    if not np.isin(values, (0.0, 1.0)).all():
        return None
    n, right = len(values), int(values.sum())
    k = np.arange(population + 1)
    # Half of the mass near the claim, half spread evenly.
    weight = 20.0
    near = _log_beta_binomial(k, population, 1 + weight * claimed, 1 + weight * (1 - claimed))
    prior = np.logaddexp(near, _log_beta_binomial(k, population, 1.0, 1.0)) - log(2)
    likelihood = _log_choose(k, right) + _log_choose(population - k, n - right) - _log_choose(population, n)
    marginal = np.logaddexp.reduce(prior + likelihood)
    inside = k[likelihood > marginal + log(alpha)]
    return Interval(low=float(inside.min()) / population, high=float(inside.max()) / population)


def _log_choose(n: np.ndarray | int, r: int) -> np.ndarray:
    n = np.asarray(n, dtype=float)
    # -inf where there are fewer than r to choose from: that K is impossible.
    with np.errstate(invalid="ignore"):
        value = gammaln(n + 1) - gammaln(r + 1) - gammaln(n - r + 1)
    return np.where(n >= r, value, -np.inf)


def _log_beta_binomial(k: np.ndarray, n: int, a: float, b: float) -> np.ndarray:
    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(choose + betaln(k + a, n - k + b) - betaln(a, b))
