"""Bounds on the score of a full run from a random part of its samples.

Anytime-valid: they hold at every sample count at once, so it does not matter when, or how often, one looks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specs.judging.band import Floats, log_mixture
from specs.judging.verdict import Interval

# docs/decisions/0008-the-interval-that-is-shown.md
STAKES = 8
"""How many sizes of stake share the wealth; each is best at another number of samples."""

LARGEST_LOSS = 0.9
TYPICAL_VARIANCE = 0.2
PRECISION_STEPS = 30
"""Halvings: far below one sample."""


def bounds_on_full_run(scores: Floats, population: int, alpha: float, offsets: Floats, reach: Floats) -> Interval:
    """A confidence sequence for the mean of all `population` scores, at its latest point.

    `scores` (n,) in [0, 1] were drawn without replacement in random order. By a hedged betting test (Waudby-Smith and
    Ramdas, "Estimating means of bounded random variables by betting", 2024, sections 4.4 and 5) with stakes that are
    fixed beforehand, so that its wealth against a mean grows with the distance of that mean: what remains is an
    interval. `offsets` (n,) and `reach` (n,) are the bettor's, for its control variate; zeros and ones without.
    """
    n = len(scores)
    before = np.concatenate([[0.0], np.cumsum(scores)])
    left = population - np.arange(n)
    least, most = before[-1], before[-1] + population - n
    needed = np.log(2 / alpha)
    at = np.geomspace(30, 2 * population + 30, STAKES)[:, None]
    stakes = np.minimum(np.sqrt(2 * needed / (TYPICAL_VARIANCE * at)), LARGEST_LOSS / reach)

    def refuted(total: float, direction: float) -> bool:
        surprise = scores - offsets - (total - before[:-1]) / left
        # Rounding may take a total at its certain bound a hair beyond what a stake allows for.
        wealth = np.log(np.maximum(1 + direction * stakes * surprise, 1e-12)).sum(axis=1)
        return bool(log_mixture(wealth) >= needed + np.log(STAKES))

    # The total against which neither direction has anything to say.
    centre = np.sum(scores - offsets + before[:-1] / left) / np.sum(1 / left) if n else population / 2
    centre = min(max(centre, least), most)
    low, high = _last_refuted(least, centre, refuted, 1.0), _last_refuted(most, centre, refuted, -1.0)
    return Interval(low=max(0.0, low / population), high=min(1.0, high / population))


def _last_refuted(bound: float, centre: float, refuted: Callable[[float, float], bool], direction: float) -> float:
    """Where, on the way from a certain bound to the centre, totals stop being refuted."""
    if not refuted(bound, direction):
        return float(bound)
    for _ in range(PRECISION_STEPS):
        middle = (bound + centre) / 2
        bound, centre = (middle, centre) if refuted(middle, direction) else (bound, middle)
    return float(bound)
