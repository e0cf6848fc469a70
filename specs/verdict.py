"""What becomes of a claim."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from specs.measurement import Proportion
from specs.model import Contract


class Outcome(StrEnum):
    """The five ways in which a claim can end."""

    VERIFIED = "verified"
    MISMATCH = "mismatch"
    INCONCLUSIVE = "inconclusive"
    """It ran, and what it measured cannot decide."""

    UNSUPPORTED = "unsupported"
    """This farm will never run it."""

    FAILED = "failed"
    """It could not be run, by our fault or the model's. Says nothing about the claim."""


class Interval(Contract):
    """Bounds, as proportions, on the score that running all samples would give."""

    low: Proportion
    high: Proportion


class Comparison(Contract):
    """The claimed score beside the reproduced one. Scores are proportions."""

    claimed: Proportion
    reproduced: Proportion | None
    """None where no sample was scored."""

    standard_error: Annotated[float, Field(ge=0)] | None
    tolerance: Annotated[float, Field(gt=0, le=1)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    samples_used: Annotated[int, Field(ge=0)]
    population: Annotated[int, Field(ge=1)]
    interval: Interval | None
    """A point where all samples were run; None where nothing can be said."""

    truncated: Annotated[int, Field(ge=0)]
    unparsed: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]


class Verdict(Contract):
    """What became of a claim, and why."""

    outcome: Outcome
    reason: Annotated[str, Field(min_length=1, max_length=8000)]
    """For people: what was found, and who could change it."""

    comparison: Comparison | None
    """None where nothing was measured."""
