"""How many samples a verdict will cost, before any are spent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specs import band
from specs.band import Floats, hypotheses
from specs.betting import Places
from specs.counting import stopping_bounds
from specs.sequential import SHOWN, StoppingRule

RUNS = 2000
LOOKS_APART = 1.01
"""The simulated runs look again when they have grown by this factor: a percent too many samples at most."""


@dataclass(frozen=True)
class Expected:
    """What a reproduction will cost if the full run's score is `true_score`."""

    true_score: float
    mean_samples: float
    verified: float
    """Part of such runs that end as verified."""


def expected_samples(rule: StoppingRule, true_score: float, explained: float = 0.0) -> Expected:
    """Mean number of samples until the rule's first claim has its answer, by seeded simulation of right and wrong.

    `explained` is the part of the scores' variance that predictors account for; it shortens the run as if the variance
    were so much smaller (the samples that have the same information, seen from the population that is left).
    """
    claim, population = rule.claims[0], rule.population
    looks = _looks(rule.minimum_samples, population)
    rng = np.random.default_rng(0)
    right = np.zeros((RUNS, len(looks)))
    left_right = np.full(RUNS, round(true_score * population))
    drawn = 0
    for index, look in enumerate(looks.astype(int)):
        new = rng.hypergeometric(left_right, population - drawn - left_right, look - drawn)
        left_right, drawn = left_right - new, look
        right[:, index] = right[:, index - 1] + new if index else new
    tests = hypotheses(claim.claimed, claim.tolerance, population, rule.alpha * (1 - SHOWN))
    verified_at, mismatch_at = _answers(right, stopping_bounds(tests, population, looks), tests.signs)
    last = len(looks) - 1
    samples = looks[np.minimum(np.minimum(verified_at, mismatch_at), last)]
    odds = samples / np.maximum(population - samples, 1e-9) * (1 - explained)
    shortened = np.maximum(population * odds / (1 + odds), min(rule.minimum_samples, population))
    inside = abs(round(true_score * population) / population - claim.claimed) <= claim.tolerance + band.EDGE
    undecided = np.minimum(verified_at, mismatch_at) > last
    verified = np.where(undecided, inside, verified_at < mismatch_at)
    return Expected(true_score, float(shortened.mean()), float(verified.mean()))


def _answers(right: Floats, bounds: Floats, signs: Floats) -> tuple[Places, Places]:
    """(R,) index of the look at which each run is verified, and is a mismatch; one past the last where it never is."""
    looks = right.shape[1]
    refuted_at = np.empty((len(signs), len(right)), dtype=np.int64)
    for test, sign in enumerate(signs):
        refutes = right <= bounds[:, test] if sign > 0 else right >= bounds[:, test]
        refuted_at[test] = np.where(refutes.any(axis=1), refutes.argmax(axis=1), looks)
    return _first(refuted_at, band.VERIFIED_BY), _first(refuted_at, band.MISMATCH_BY)


def _first(refuted_at: Places, ways: tuple[tuple[int, ...], ...]) -> Places:
    return np.asarray(np.min([refuted_at[list(tests)].max(axis=0) for tests in ways], axis=0))


def _looks(first: int, population: int) -> Floats:
    looks = [min(first, population)]
    while looks[-1] < population:
        looks.append(min(population, max(looks[-1] + 1, round(looks[-1] * LOOKS_APART))))
    return np.array(looks, dtype=np.float64)
