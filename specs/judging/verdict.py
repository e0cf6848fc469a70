"""What becomes of a claim."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from specs.contract import Contract
from specs.measurement import Proportion, Sha256


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


class LinkedLogUse(Contract):
    """What became of the Inspect log that a claim names as its source."""

    url: str
    sha256: Sha256 | None
    """Of the log's bytes; None where it could not be read."""

    used: bool
    """Whether its answers were used as predictions of ours."""

    reason: str
    """Why it was not used, or how it agrees with our answers."""

    compared: Annotated[int, Field(ge=0)]
    """Samples that both have scored."""

    differing: Annotated[float, Field(ge=0, le=1)] | None
    """Mean absolute difference of the two scores of a sample; None where nothing was compared."""

    suspicious: bool
    """Whether they differ by far more than noise explains: the log is hardly that of this model."""


class Comparison(Contract):
    """The claimed score beside the reproduced one. Scores are proportions."""

    claimed: Proportion
    mode: Literal["full", "sequential"]
    """Whether the run was to ask all samples, or to stop as soon as the answer was sure."""

    reproduced: Proportion | None
    """The score of all samples; where some were run, the estimate of it, within the interval. None where no sample was
    scored."""

    standard_error: Annotated[float, Field(ge=0)] | None
    """Of the mean of the samples used; None for fewer than two."""

    tolerance: Annotated[float, Field(gt=0, le=1)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    doubtful_beyond: Annotated[float, Field(gt=0, le=1)] | None = None
    """A difference beyond the tolerance and up to this may be that of an honest claim, by chance and by how it was
    rounded, and decides nothing. None where the tolerance covers that."""

    samples_used: Annotated[int, Field(ge=0)]
    """n: samples with a score, of those up to where this claim had its answer."""

    population: Annotated[int, Field(ge=1)]
    interval: Interval | None
    """A point where all samples were run; None where nothing can be said."""

    truncated: Annotated[int, Field(ge=0)]
    """Answers cut off at the token limit, in the whole run."""

    unparsed: Annotated[int, Field(ge=0)]
    """Answers in which the scorer found none of the form it looks for, in the whole run."""

    failed: Annotated[int, Field(ge=0)]
    """Samples without a score, of those up to where this claim had its answer."""

    linked_log: LinkedLogUse | None = None
    """None where the claim's source is no Inspect log on the Hub, or policy reads none."""


class Verdict(Contract):
    """What became of a claim, and why."""

    outcome: Outcome
    reason: Annotated[str, Field(min_length=1, max_length=8000)]
    """For people: what was found, and who could change it."""

    comparison: Comparison | None
    """None where nothing was measured."""

    likely_reasons: tuple[str, ...] = ()
    """Of a mismatch, the likeliest first: specs/judging/likely_reasons.py. Plain words, without names from outside."""
