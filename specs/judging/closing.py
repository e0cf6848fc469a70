"""How a run's score converged towards a claim, told again from the scores of its samples in their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from specs.judging.decision import judging_rule, known_of, population_of
from specs.judging.sequential import Decision, Finding, SequentialDecider
from specs.judging.stopping import JudgedClaim, Population, Stopping, doubtful_beyond, tolerance_for
from specs.measurement import Measurement

MOST_POINTS = 200
"""More than a plot has room for."""

MOST_SAMPLES_SUMMED = 60_000
"""Over all points. Bounds cost time in proportion to their samples: about half a second in all."""


@dataclass(frozen=True)
class Point:
    """What was known after so many samples, scored or failed."""

    samples: int
    finding: Finding


@dataclass(frozen=True)
class Closing:
    """What was known on the way, up to where the claim had its answer."""

    tolerance: float
    decision: Decision
    decided_after: int
    points: tuple[Point, ...]
    """By samples; those at which no sample was scored yet are left out."""


def closing(claim: JudgedClaim, stopping: Stopping, measurement: Measurement) -> Closing:
    """Feed a completed run's scores to its tests anew, and look on the way.

    Raises:
        ValueError: `claim` is not among those of `stopping`.
    """
    population = population_of(measurement)
    rule = judging_rule(stopping, population, len(measurement.sample_scores))
    index, wider = stopping.claims.index(claim), _wider(claim, stopping, population)
    decider = SequentialDecider(rule)
    points: list[Point] = []
    for count in looks(len(measurement.sample_scores), MOST_SAMPLES_SUMMED // len(rule.claims)):
        decider.feed(measurement.sample_scores[decider.seen : count])
        shown = _shown(decider.findings(), index, wider)
        points.append(Point(shown.samples, shown))
        if _is_answered(decider.findings(), index, wider) or decider.settled:
            break
    last = points[-1].finding if points else _shown(decider.findings(), index, wider)
    return Closing(
        tolerance=tolerance_for(claim, measurement.population),
        decision=last.decision,
        decided_after=last.samples,
        points=tuple(each for each in points if each.finding.estimate is not None),
    )


def _shown(findings: Sequence[Finding], index: int, wider: int | None) -> Finding:
    return known_of(findings[index], findings[wider] if wider is not None else None)


def _is_answered(findings: Sequence[Finding], index: int, wider: int | None) -> bool:
    """Whether the claim has its answer: outside the tolerance, once it is known whether it is in doubt."""
    found = findings[index].decision
    return found == "verified" or (found == "mismatch" and (wider is None or findings[wider].decision != "undecided"))


def _wider(claim: JudgedClaim, stopping: Stopping, population: Population) -> int | None:
    """The place of the band of a claim's differences in doubt among those of the rule; None where it has none."""
    doubtful = [each for each in stopping.claims if doubtful_beyond(each, population) is not None]
    return len(stopping.claims) + doubtful.index(claim) if claim in doubtful else None


def looks(samples: int, summed: int) -> tuple[int, ...]:
    """After how many samples to look: closer together at first, where bounds move fastest; the last is `samples`.

    Together they are of `summed` samples or so.
    """
    if samples <= MOST_POINTS and samples * (samples + 1) // 2 <= summed:
        return tuple(range(1, samples + 1))
    # Evenly on the scale of square roots, n points of up to N samples sum to about n N / 3.
    points = max(8, min(MOST_POINTS, 3 * summed // max(1, samples)))
    roots = (math.sqrt(samples) * step / points for step in range(1, points + 1))
    return tuple(sorted({max(1, round(root * root)) for root in roots} | {samples}))
