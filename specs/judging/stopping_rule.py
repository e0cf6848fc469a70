"""The rule by which a run stops and is judged, complete with what only the dataset tells. Data alone: no arithmetic."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from specs.contract import Contract
from specs.judging.packed import PackedProportions
from specs.measurement import Proportion


class ClaimedScore(Contract):
    """A claim, and how far from it the full run's score may be. Proportions."""

    claimed: Proportion
    tolerance: Annotated[float, Field(gt=0, le=1)]


class Predictor(Contract):
    """Something known about every sample that says how it may be scored: never wrong, only more or less useful."""

    values: PackedProportions
    """By place in the run's seeded order; an earlier score of the same sample, say."""

    slope: Annotated[float, Field(allow_inf_nan=False)]
    """By how much a score is expected to rise with it, until the run itself tells."""


class StoppingRule(Contract):
    """All that decides when a run may stop. Fixed before its first sample."""

    claims: Annotated[tuple[ClaimedScore, ...], Field(min_length=1)]
    population: Annotated[int, Field(ge=1)]
    """N: samples that the task has."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    """The chance, for each claim, that its answer differs from the full run's."""

    minimum_samples: Annotated[int, Field(ge=1)]
    """No answer from fewer scored samples, unless there are no more."""

    maximum_failed_fraction: Annotated[float, Field(ge=0, lt=1)]
    """No answer while more samples than this have no score."""

    answers_averaged: Annotated[int, Field(ge=1)] = 1
    """Of each sample. One that lacks a single answer has no score, so of all samples together this many times as large
    a part may have none."""

    predictors: tuple[Predictor, ...] = ()

    @model_validator(mode="after")
    def _predictors_cover_the_population(self) -> Self:
        if any(len(each.values) != self.population for each in self.predictors):
            raise ValueError("a predictor needs a value for every sample of the population")
        return self
