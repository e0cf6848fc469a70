"""What the API says, version 1, of how a run's score closed in. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from typing import Literal

from specs.api_v1.views import View
from specs.measurement import Proportion


class TracePoint(View):
    """What was known after so many samples of the run's random order. Proportions."""

    samples: int
    """Scored or failed."""

    score: Proportion
    """The score of all samples as far as it could be told then."""

    low: Proportion
    """With `high`: bounds on the score of all samples, that hold at every point at once with probability 1 - alpha."""

    high: Proportion


class TraceView(View):
    """How a completed run's score closed on a claim's tolerance band."""

    reproduction_id: str
    claim_id: str
    """The claim whose band it is: the one that was asked for, else the first that the run judges."""

    claimed: Proportion
    tolerance: float
    """The band is `claimed` less and plus this."""

    alpha: float
    population: int
    """Samples that the task has."""

    decision: Literal["verified", "mismatch", "undecided"]
    decided_after: int
    """Samples after which the claim had its answer; all that count where it has none."""

    points: tuple[TracePoint, ...]
    """By samples; empty where none was scored. The last is what the claim was judged by."""
