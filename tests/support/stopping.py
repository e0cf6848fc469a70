"""Rules and runs for the tests of early stopping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specs.judging.sequential import Finding, SequentialDecider
from specs.judging.stopping_rule import ClaimedScore, Predictor, StoppingRule


def rule(
    *claimed: float,
    population: int,
    tolerance: float = 0.02,
    alpha: float = 0.001,
    minimum_samples: int = 20,
    predictors: tuple[Predictor, ...] = (),
) -> StoppingRule:
    return StoppingRule(
        claims=tuple(ClaimedScore(claimed=each, tolerance=tolerance) for each in claimed),
        population=population,
        alpha=alpha,
        minimum_samples=minimum_samples,
        maximum_failed_fraction=0.02,
        predictors=predictors,
    )


def fed(stopping: StoppingRule, scores: Sequence[float | None]) -> SequentialDecider:
    decider = SequentialDecider(stopping)
    decider.feed(scores)
    return decider


def finding(stopping: StoppingRule, scores: Sequence[float | None]) -> Finding:
    return fed(stopping, scores).findings()[0]


def right_or_wrong(population: int, right: int, seed: int = 0) -> list[float]:
    scores = np.zeros(population)
    scores[:right] = 1
    return [float(score) for score in np.random.default_rng(seed).permutation(scores)]
