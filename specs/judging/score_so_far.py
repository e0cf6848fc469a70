"""How sure a score is while its run goes on."""

from __future__ import annotations

import math

from specs.judging.verdict import Interval

NORMAL_95 = 1.959964


def interval_so_far(score: float | None, samples: int) -> Interval | None:
    """Wilson's 95 % interval of a mean of `samples` scores; None where there is no score.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927). For right or wrong answers;
    scores in between vary less for the same mean, so it is too wide for those and never too narrow. For looking at:
    nothing is decided by it.
    """
    if score is None or samples < 1:
        return None
    spread = NORMAL_95**2 / samples
    centre = (score + spread / 2) / (1 + spread)
    half = NORMAL_95 / (1 + spread) * math.sqrt(score * (1 - score) / samples + spread / (4 * samples))
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half))
