"""Does a measurement reproduce a claim? The rule, and nothing else: no clock, no network, no database."""

from __future__ import annotations

import math

from specs.measurement import Measurement
from specs.policy import TaskRules, VerificationRules
from specs.sequential import ClaimedScore, Finding, Predictor, SequentialDecider, StoppingRule
from specs.verdict import Comparison, Outcome, Verdict


def tolerance_for(claimed: float, population: int, rules: TaskRules) -> float:
    """The widest difference, as a proportion, that still counts as reproduced.

    Policy's, else the greater of 0.01 and the half-width of the normal 95 % interval of a claimed score on
    `population` samples: an honest re-run of a sampled model differs by so much by chance.
    """
    if rules.tolerance is not None:
        return rules.tolerance
    return max(0.01, 1.96 * math.sqrt(claimed * (1 - claimed) / population))


def decide(
    claimed: float,
    tolerance: float,
    measurement: Measurement,
    rules: VerificationRules,
    predictors: tuple[Predictor, ...] = (),
) -> Verdict:
    """Judge a claimed proportion against a completed run.

    With every sample scored the reproduced score decides by itself: |r − c| ≤ tolerance. With fewer, the tests by
    which a run may stop early decide (`specs.sequential`), fed with the measured scores anew: their answer differs
    from the full run's with probability alpha at most. `predictors` are those that the run was stopped by.
    """
    complete = len(measurement.sample_scores) == measurement.population
    rule = StoppingRule(
        claims=(ClaimedScore(claimed=claimed, tolerance=tolerance),),
        population=measurement.population,
        alpha=rules.alpha,
        # A run that went on to the end is judged by all of it, wherever it could have stopped.
        minimum_samples=measurement.population if complete else rules.minimum_samples,
        maximum_failed_fraction=rules.maximum_failed_fraction,
        predictors=predictors,
    )
    decider = SequentialDecider(rule)
    decider.feed(measurement.sample_scores)
    (finding,) = decider.findings()
    comparison = Comparison(
        claimed=claimed,
        reproduced=measurement.score,
        standard_error=measurement.standard_error,
        tolerance=tolerance,
        alpha=rules.alpha,
        samples_used=len(measurement.scored),
        population=measurement.population,
        interval=finding.interval if measurement.scored else None,
        truncated=measurement.truncated,
        unparsed=measurement.unparsed,
        failed=measurement.failed,
    )
    outcome, reason = _outcome(comparison, finding, rules)
    return Verdict(outcome=outcome, reason=reason, comparison=comparison)


def _outcome(found: Comparison, finding: Finding, rules: VerificationRules) -> tuple[Outcome, str]:
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
    tolerance = f"the tolerance of {_points(found.tolerance)}"
    if finding.decision == "verified":
        return Outcome.VERIFIED, f"{measured}, within {tolerance}"
    if finding.decision == "mismatch":
        return Outcome.MISMATCH, f"{measured}, outside {tolerance}"
    return Outcome.INCONCLUSIVE, f"{measured}: neither inside nor outside {tolerance}"


def _points(difference: float) -> str:
    return f"{100 * difference:.2f} points"
