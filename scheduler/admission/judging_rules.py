"""How each claim of a reproduction will be judged, fixed before it runs."""

from __future__ import annotations

from typing import Literal

from specs.contract import Contract
from specs.policy.verification import Scale


class JudgingRules(Contract):
    """How a claim will be judged, fixed before its reproduction runs."""

    scale: Scale
    scale_source: Literal["policy", "leaderboard"]
    claimed: float
    """The claimed value as a proportion."""

    tolerance: float | None
    """Absolute, as a proportion; None is what `tolerance_for` (specs/judging/stopping.py) has for the samples."""

    tolerance_source: Literal["policy", "measured", "chance"]
    spread: float | None
    """Standard deviation of the difference between two honest full runs, as measured; None where it is not known."""

    spread_source: str | None = None
    """What that was measured on, in words."""

    policy_sha256: str
