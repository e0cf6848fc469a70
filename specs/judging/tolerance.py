"""How wide a tolerance is at least, and by how much chance moves a score."""

from __future__ import annotations

LEAST_TOLERANCE = 0.01
NORMAL_95 = 1.96
"""Two-sided quantile of the normal distribution at 95 %."""


def measured_tolerance(spread: float) -> float:
    """The tolerance, as a proportion, of policy's `measured`: what 95 of 100 honest re-runs differ by at most.

    `spread` is the standard deviation of the difference between two honest full runs.
    """
    return min(1.0, max(LEAST_TOLERANCE, NORMAL_95 * spread))
