"""How a claim writes its score, made comparable."""

from __future__ import annotations

from specs.policy.rules import Scale


def as_proportion(value: float, scale: Scale) -> float | None:
    """A claimed value as a proportion; None where it is none on that scale."""
    proportion = value / 100 if scale == "percent" else value
    return proportion if 0 <= proportion <= 1 else None


def points(difference: float) -> str:
    """A difference of proportions, in percentage points."""
    return f"{100 * difference:.2f} points"
