"""Does a measurement reproduce a claim? The rule, and nothing else: no clock, no network, no database."""

from __future__ import annotations

import math

from specs.confidence import interval_for_full_run
from specs.measurement import Measurement
from specs.policy import TaskRules, VerificationRules
from specs.verdict import Comparison, Interval, Outcome, Verdict


def tolerance_for(claimed: float, population: int, rules: TaskRules) -> float:
    """The widest difference, as a proportion, that still counts as reproduced.

    Policy's, else the greater of 0.01 and the half-width of the normal 95 % interval of a claimed score on
    `population` samples: an honest re-run of a sampled model differs by so much by chance.
    """
    if rules.tolerance is not None:
        return rules.tolerance
    return max(0.01, 1.96 * math.sqrt(claimed * (1 - claimed) / population))


def decide(claimed: float, tolerance: float, measurement: Measurement, rules: VerificationRules) -> Verdict:
    """Judge a claimed proportion against a completed run.

    With every sample scored the reproduced score decides by itself: |r − c| ≤ tolerance. With fewer, an interval that
    covers the full run's score with probability 1 − alpha has to lie wholly inside or wholly outside the tolerance.
    """
    bounds = _bounds(claimed, measurement, rules.alpha)
    comparison = Comparison(
        claimed=claimed,
        reproduced=measurement.score,
        standard_error=measurement.standard_error,
        tolerance=tolerance,
        alpha=rules.alpha,
        samples_used=len(measurement.scored),
        population=measurement.population,
        interval=bounds,
        truncated=measurement.truncated,
        unparsed=measurement.unparsed,
        failed=measurement.failed,
    )
    outcome, reason = _outcome(comparison, rules)
    return Verdict(outcome=outcome, reason=reason, comparison=comparison)


def _bounds(claimed: float, measurement: Measurement, alpha: float) -> Interval | None:
    scores = measurement.scored
    if not scores or measurement.score is None:
        return None
    if len(scores) == measurement.population:
        return Interval(low=measurement.score, high=measurement.score)
    return interval_for_full_run(scores, measurement.population, alpha, claimed)


def _outcome(found: Comparison, rules: VerificationRules) -> tuple[Outcome, str]:
    attempted = found.samples_used + found.failed
    if found.failed > rules.maximum_failed_fraction * attempted:
        return Outcome.INCONCLUSIVE, f"{found.failed} of {attempted} samples failed and have no score"
    too_few = min(rules.minimum_samples, found.population)
    if found.interval is None or found.reproduced is None or found.samples_used < max(too_few, 2):
        return Outcome.INCONCLUSIVE, f"only {found.samples_used} samples were scored, too few to decide"
    difference = abs(found.reproduced - found.claimed)
    measured = f"reproduced {found.reproduced:.2%}, {_points(difference)} from the claimed {found.claimed:.2%}"
    if found.samples_used < found.population:
        measured += (
            f"; all {found.population} samples would give {found.interval.low:.2%} to {found.interval.high:.2%}"
            f" (alpha {found.alpha})"
        )
    low, high = found.interval.low - found.claimed, found.interval.high - found.claimed
    # A claim on the band's edge matches; 1e-12 absorbs what float subtraction adds to an exact difference.
    edge = found.tolerance + 1e-12
    if -edge <= low and high <= edge:
        return Outcome.VERIFIED, f"{measured}, within the tolerance of {_points(found.tolerance)}"
    if low > edge or high < -edge:
        return Outcome.MISMATCH, f"{measured}, outside the tolerance of {_points(found.tolerance)}"
    return Outcome.INCONCLUSIVE, f"{measured}: neither inside nor outside the tolerance of {_points(found.tolerance)}"


def _points(difference: float) -> str:
    return f"{100 * difference:.2f} points"
