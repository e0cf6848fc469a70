"""How many samples a verdict will cost, before any are spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specs.judging import band
from specs.judging.band import Floats, hypotheses, stack
from specs.judging.betting import Places
from specs.judging.counting import stopping_bounds
from specs.judging.sequential import SHOWN, Decision, full_run_decision
from specs.judging.stopping_rule import StoppingRule

Truths = NDArray[np.bool_]

RUNS = 2000
LOOKS_APART = 1.01
"""The simulated runs look again when they have grown by this factor; what they then find came halfway, on average."""


@dataclass(frozen=True)
class Expected:
    """What a reproduction will cost, and come to, if the full run's score is `true_score`."""

    true_score: float
    mean_samples: float
    verified: float
    """Part of such runs in which the rule's first claim is verified."""

    mismatch: float
    """Part in which all the rule's claims are a mismatch."""

    @property
    def undecided(self) -> float:
        """Part with neither: in doubt between two bands, or at its limit before it had its answers."""
        return max(0.0, 1 - self.verified - self.mismatch)


@dataclass(frozen=True)
class SimulatedRuns:
    """What each of some runs on one population took and came to."""

    samples: Floats
    """Until all the rule's claims had their answers, or the run reached its limit."""

    verified: Truths
    """Whether the rule's first claim is verified."""

    mismatch: Truths
    """Whether all the rule's claims are a mismatch."""

    def expected(self, true_score: float) -> Expected:
        """On average."""
        return Expected(
            true_score, float(self.samples.mean()), float(self.verified.mean()), float(self.mismatch.mean())
        )


def simulated(
    rule: StoppingRule,
    true_scores: Sequence[float],
    *,
    limit: int | None = None,
    runs: int = RUNS,
    looks_apart: float = LOOKS_APART,
) -> tuple[Expected, ...]:
    """What runs by the rule come to on average: see `simulated_runs`."""
    found = simulated_runs(rule, true_scores, limit=limit, runs=runs, looks_apart=looks_apart)
    return tuple(each.expected(score) for each, score in zip(found, true_scores, strict=True))


def simulated_runs(
    rule: StoppingRule, true_scores: Sequence[float], *, limit: int | None = None, runs: int, looks_apart: float
) -> tuple[SimulatedRuns, ...]:
    """What runs by the rule take and come to, by seeded simulation of right and wrong, for each of some true scores.

    The rule's claims are bands around one score, the claim's own first, wider ones of differences in doubt after it
    (`specs.judging.stopping.stopping_rule`). A run takes `limit` samples at most, and is undecided where that is too
    few. The runs of one true score on one population draw the same answers in the same order by whichever rule. By how
    much predictors shorten a run is not foreseen: that depends on the answers.
    """
    population = rule.population
    last = population if limit is None else min(limit, population)
    looks = _looks(rule.minimum_samples, population, looks_apart)
    if last >= looks[0]:
        looks = np.unique(np.append(looks, last))
    halfway = np.append(looks[:1], (looks[:-1] + looks[1:] + 1) / 2)
    tests = [hypotheses(each.claimed, each.tolerance, population, rule.alpha * (1 - SHOWN)) for each in rule.claims]
    bounds = np.split(stopping_bounds(stack(tests), population, looks), len(tests), axis=1)
    found = []
    for true_score in true_scores:
        total = _whole(rule, true_score)
        right = _drawn(total, population, looks, runs)
        answers = [_answers(right, bound, test.signs) for bound, test in zip(bounds, tests, strict=True)]
        answered_at = np.max([np.minimum(*answer) for answer in answers], axis=0)
        full = decisions(rule, true_score)
        # At the last look, or past it: the run went on to the end. So it is taken to, where only a score over several
        # epochs, and no number right, is on the same side of every edge.
        whole = (answered_at >= len(looks) - 1) | (decisions(rule, total / population) != full)
        samples = np.where(whole, population, halfway[np.minimum(answered_at, len(looks) - 1)])
        verified = np.where(whole, full[0] == "verified", answers[0][0] < answers[0][1])
        off = [
            np.where(whole, decision == "mismatch", mismatch_at < verified_at)
            for decision, (verified_at, mismatch_at) in zip(full, answers, strict=True)
        ]
        in_time = samples <= last
        found.append(SimulatedRuns(np.minimum(samples, last), verified & in_time, np.all(off, axis=0) & in_time))
    return tuple(found)


def _whole(rule: StoppingRule, true_score: float) -> int:
    """The number right that is nearest to a score, on the same side of every band's edge where there is one."""
    exact = true_score * rule.population
    nearest = sorted((math.floor(exact), math.ceil(exact)), key=lambda total: abs(total - exact))

    same = [total for total in nearest if decisions(rule, total / rule.population) == decisions(rule, true_score)]
    return (same or nearest)[0]


def decisions(rule: StoppingRule, score: float) -> list[Decision]:
    """What a run of every sample that scores so decides about each of the rule's claims."""
    return [full_run_decision(score, each.claimed, each.tolerance) for each in rule.claims]


def _drawn(total: int, population: int, looks: Floats, runs: int) -> Floats:
    """(R, B) answers that are right at each look, in runs that draw from a population with `total` of them."""
    rng = np.random.default_rng(0)
    right = np.zeros((runs, len(looks)))
    left_right = np.full(runs, total)
    drawn = 0
    for index, look in enumerate(looks.astype(int)):
        new = rng.hypergeometric(left_right, population - drawn - left_right, look - drawn)
        left_right, drawn = left_right - new, look
        right[:, index] = right[:, index - 1] + new if index else new
    return right


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


def _looks(first: int, population: int, apart: float) -> Floats:
    looks = [min(first, population)]
    while looks[-1] < population:
        looks.append(min(population, max(looks[-1] + 1, round(looks[-1] * apart))))
    return np.array(looks, dtype=np.float64)
