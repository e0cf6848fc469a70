"""How a claim writes its score, made comparable."""

from __future__ import annotations

from specs.policy.verification import Scale


def as_proportion(value: float, scale: Scale) -> float | None:
    """A claimed value as a proportion; None where it is none on that scale."""
    proportion = value / 100 if scale == "percent" else value
    return proportion if 0 <= proportion <= 1 else None


def points(difference: float) -> str:
    """A difference of proportions, in percentage points."""
    return f"{100 * difference:.2f} points"


MOST_DIGITS = 6


def told_apart(difference: float, limit: float) -> tuple[str, str]:
    """A difference and what it is held against, in points with as many digits as show which is more; two at least."""
    for digits in range(2, MOST_DIGITS + 1):
        one, other = (f"{100 * each:.{digits}f} points" for each in (difference, limit))
        if one != other:
            return one, other
    return points(difference), points(limit)
