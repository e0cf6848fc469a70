"""Does a measurement reproduce a claim? The rule, and nothing else: no clock, no network, no database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from specs.epochs import MEAN, answers_averaged
from specs.judging.scale import points, told_apart
from specs.judging.sequential import Finding, SequentialDecider, full_run_decision
from specs.judging.stopping import (
    LEAST_SCORED,
    JudgedClaim,
    Population,
    Stopping,
    doubtful_beyond,
    noise_of,
    stopping_rule,
    tolerance_for,
    what_would_decide,
    why_none_proves,
)
from specs.judging.stopping_rule import StoppingRule
from specs.judging.tolerance import rounding_of
from specs.judging.verdict import Comparison, Interval, LinkedLogUse, Outcome, Verdict
from specs.measurement import Measurement
from specs.policy.verification import Mode
from specs.text import clean

NOTABLE_ROUNDING = 0.001
"""A claim that was rounded by less needs no word about it."""


def population_of(measurement: Measurement) -> Population:
    """What the dataset, the spec and the settings told of a run."""
    return Population(
        samples=measurement.population,
        epochs=measurement.circumstances.epochs,
        reducer=measurement.circumstances.epoch_reducer or MEAN,
        epochs_repeat=measurement.circumstances.generation.epochs_repeat,
        targets_sha256=measurement.targets_sha256,
    )


def judging_rule(stopping: Stopping, population: Population, samples: int) -> StoppingRule:
    """By what a completed run of so many samples, scored or failed, is judged.

    One that went on to the end is judged by all of it, wherever it could have stopped.
    """
    rule = stopping_rule(stopping, population)
    return rule.model_copy(update={"minimum_samples": rule.population}) if samples == rule.population else rule


def answered_after(stopping: Stopping, measurement: Measurement) -> int | None:
    """How many samples it took until every claim of a run had its answer; None where some claim never had one."""
    ended = _ended(stopping_rule(stopping, population_of(measurement)), measurement.sample_scores)
    return ended.seen if ended.settled else None


@dataclass(frozen=True)
class CompletedRun:
    """A completed run, and what it was to stop by. What its samples say is worked out once, for all its claims."""

    stopping: Stopping
    measurement: Measurement
    mode: Mode
    held_context: int | None = None
    """Tokens of the engine's context, where the farm gave it fewer than the model has."""

    def decide(self, claim: JudgedClaim, linked_log: LinkedLogUse | None = None) -> Verdict:
        """Judge one of the claims, by what the run was to stop by.

        With every sample scored the reproduced score decides by itself: |r − c| ≤ tolerance. With fewer, the tests by
        which a run may stop early decide (`specs.judging.sequential`), fed with the measured scores anew: their answer
        differs from the full run's with probability alpha at most. A difference beyond the tolerance that may be chance
        decides nothing (`doubtful_beyond`), nor one that is there for want of samples without a score, or of
        answers that a limit of the farm's cut off. Where more samples have none than policy allows answers, as each
        lacks perhaps one answer of several, nothing is verified either that theirs could bring outside.

        Raises:
            ValueError: `claim` is not among those of `stopping`.
        """
        if claim not in self._findings:
            raise ValueError(f"claim {claim.claim_id} is not among those of the run")
        finding, in_doubt = self._findings[claim]
        measurement, population = self.measurement, self._population
        shown = known_of(finding, in_doubt)
        attempted = measurement.sample_scores[: shown.samples]
        scored = len(attempted) - attempted.count(None)
        found = Comparison(
            claimed=claim.claimed,
            mode=self.mode,
            reproduced=shown.estimate,
            standard_error=shown.standard_error,
            tolerance=tolerance_for(claim, population.samples),
            doubtful_beyond=doubtful_beyond(claim, population),
            alpha=self.stopping.alpha,
            samples_used=scored,
            population=population.samples,
            interval=shown.interval if scored else None,
            truncated=measurement.truncated,
            unparsed=measurement.unparsed,
            failed=len(attempted) - scored,
            linked_log=linked_log,
        )
        obstacle = _obstacle(found, self.stopping, population) or _thoughts_scored(measurement, self.stopping)
        if obstacle is not None:
            return Verdict(outcome=Outcome.INCONCLUSIVE, reason=obstacle, comparison=found)
        measured, tolerance = _measured(found)
        if finding.decision == "verified" and (doubt := _could_be_outside(found, self.stopping)) is not None:
            reason = f"{measured}, within {tolerance}; {doubt}"
            return Verdict(outcome=Outcome.INCONCLUSIVE, reason=reason, comparison=found)
        if finding.decision == "verified":
            return Verdict(outcome=Outcome.VERIFIED, reason=f"{measured}, within {tolerance}", comparison=found)
        # What is no mismatch anyway is excused by nothing that would leave it in doubt.
        excused = found if shown.decision == "mismatch" else found.model_copy(update={"doubtful_beyond": None})
        excuse = _left_out(excused) or _cut_off_by_the_farm(excused, measurement, self.held_context)
        if finding.decision == "mismatch" and excuse is not None:
            reason = f"{measured}, outside {tolerance}; {excuse}"
            return Verdict(outcome=Outcome.INCONCLUSIVE, reason=reason, comparison=found)
        if finding.decision == "mismatch" and shown.decision == "mismatch":
            return Verdict(outcome=Outcome.MISMATCH, reason=f"{measured}, outside {tolerance}", comparison=found)
        if finding.decision == "mismatch":
            reason = f"{measured}, outside {tolerance}; {_by_chance(claim, population)}"
        else:
            reason = f"{measured}: neither inside nor outside {tolerance}"
        return Verdict(outcome=Outcome.INCONCLUSIVE, reason=reason, comparison=found)

    @cached_property
    def _population(self) -> Population:
        return population_of(self.measurement)

    @cached_property
    def _findings(self) -> dict[JudgedClaim, tuple[Finding, Finding | None]]:
        """Of each claim's tolerance band, and of the wider band of differences in doubt, where there is one."""
        claims, scores = self.stopping.claims, self.measurement.sample_scores
        findings = _ended(judging_rule(self.stopping, self._population, len(scores)), scores).findings
        wider = iter(findings[len(claims) :])
        return {
            claim: (finding, next(wider) if doubtful_beyond(claim, self._population) is not None else None)
            for claim, finding in zip(claims, findings, strict=False)
        }


def known_of(finding: Finding, in_doubt: Finding | None) -> Finding:
    """What a run says of a claim, by its tolerance band and the wider one of differences in doubt, where there is one.

    A mismatch has to be one beyond doubt. What is outside the one and inside the other is undecided, and told as it was
    known when the later of the two was.
    """
    if in_doubt is None or finding.decision != "mismatch":
        return finding
    if in_doubt.decision != "verified":
        return in_doubt
    later = max(finding, in_doubt, key=lambda each: each.samples)
    low = max(finding.interval.low, in_doubt.interval.low)
    high = min(finding.interval.high, in_doubt.interval.high)
    if low > high:
        # At most with probability alpha.
        low, high = later.interval.low, later.interval.high
    estimate = None if later.estimate is None else min(max(later.estimate, low), high)
    return later.model_copy(
        update={"decision": "undecided", "interval": Interval(low=low, high=high), "estimate": estimate}
    )


@dataclass(frozen=True)
class _Ended:
    seen: int
    settled: bool
    findings: tuple[Finding, ...]


@lru_cache(maxsize=8)
def _ended(rule: StoppingRule, sample_scores: tuple[float | None, ...]) -> _Ended:
    """What a rule makes of a run. Remembered: it is asked whether the run went far enough, and then for its claims."""
    decider = SequentialDecider(rule)
    if len(sample_scores) == rule.population <= rule.minimum_samples:
        decider.take_all(sample_scores)
    else:
        decider.feed(sample_scores)
    return _Ended(decider.seen, decider.settled, decider.findings())


def _obstacle(found: Comparison, stopping: Stopping, population: Population) -> str | None:
    """Why what was measured cannot decide anything; None where it can."""
    attempted = found.samples_used + found.failed
    # Policy allows a part of the answers, and a sample without a score lacks one at least. What stopped early does not
    # know what is left out of all.
    averaged = answers_averaged(population.epochs, population.reducer) if attempted == found.population else 1
    if found.failed > stopping.maximum_failed_fraction * averaged * attempted:
        return _failed(found)
    if (why := why_none_proves(found.claimed, found.tolerance)) is not None:
        return why
    too_few = min(stopping.minimum_samples, found.population)
    if found.interval is None or found.reproduced is None or found.samples_used < max(too_few, LEAST_SCORED):
        return f"only {found.samples_used} samples were scored, too few to decide"
    return None


def _thoughts_scored(measurement: Measurement, stopping: Stopping) -> str | None:
    """Why a score that may be one of thoughts decides nothing; None where it is one of answers."""
    found, answers = measurement.thoughts or 0, _answers(measurement)
    if _share_of_score(found, measurement) <= stopping.maximum_failed_fraction:
        return None
    return (
        f"{found} of {answers} answers begin with the model's thoughts, up to a </think> that its chat template opened,"
        f" and the scorer {clean(measurement.scorer, 100)} may have taken those for the answer: the farm's operator can"
        " have them told apart (reasoning_parser of this model in policy)"
    )


def _left_out(found: Comparison) -> str | None:
    """Why a score may be outside for want of the samples that have none; None where they could not bring it inside."""
    if found.reproduced is None or not found.failed:
        return None
    where = _within(found, *_with_those_left_out(found, found.reproduced))
    return None if where is None else f"{_failed(found)}, and with theirs it could be {where}"


def _could_be_outside(found: Comparison, stopping: Stopping) -> str | None:
    """Why a score may be inside for want of the samples that have none; None where they could not bring it outside.

    Nor where they are no more than policy allows of samples with a single answer.
    """
    attempted = found.samples_used + found.failed
    if found.reproduced is None or found.failed <= stopping.maximum_failed_fraction * attempted:
        return None
    ends = _with_those_left_out(found, found.reproduced)
    if all(full_run_decision(end, found.claimed, found.tolerance) == "verified" for end in ends):
        return None
    return f"{_failed(found)}, and with theirs it could be outside"


def _with_those_left_out(found: Comparison, reproduced: float) -> tuple[float, float]:
    """What the score would be at least and at most if the samples without one had theirs."""
    share = found.failed / (found.samples_used + found.failed)
    lowest = reproduced * (1 - share)
    return lowest, lowest + share


def _failed(found: Comparison) -> str:
    return f"{found.failed} of {found.samples_used + found.failed} samples failed and have no score"


def _cut_off_by_the_farm(found: Comparison, measurement: Measurement, held_context: int | None) -> str | None:
    """Why a score that is too low may be the farm's doing and not the model's; None where it is not."""
    cut, limit = _cut_by(measurement, held_context)
    if limit is None or not cut or found.reproduced is None or found.reproduced > found.claimed:
        return None
    where = _within(found, found.reproduced, found.reproduced + _share_of_score(cut, measurement))
    if where is None:
        return None
    return (
        f"{cut} of {_answers(measurement)} answers were cut off {limit}, and were all of those right it would be"
        f" {where}: a higher limit would decide"
    )


def _cut_by(measurement: Measurement, held_context: int | None) -> tuple[int, str | None]:
    """How many answers a limit of the farm's own cut off, and which it is; None where it is none of the farm's."""
    generation = measurement.circumstances.generation
    if generation.max_tokens is not None and generation.sources.get("max_tokens") == "policy":
        return measurement.truncated, f"at the max_tokens {generation.max_tokens} of the farm's policy"
    if held_context is None:
        return 0, None
    by_context = measurement.truncated if generation.max_tokens is None else measurement.cut_by_context or 0
    return by_context, f"at the {held_context} tokens of context that the farm gave the model"


def _within(found: Comparison, low: float, high: float) -> str | None:
    """Where a score between `low` and `high` could be; None where it would be a mismatch in any case."""
    for width, where in ((found.tolerance, "inside"), (found.doubtful_beyond, "in doubt")):
        if width is not None and low - width <= found.claimed <= high + width:
            return where
    return None


def _share_of_score(answers: int, measurement: Measurement) -> float:
    """By how much so many answers can move the score, at most.

    By their share where epochs are averaged, else by a sample each: one answer of several can be what `max` or `mode`
    takes.
    """
    ran = measurement.circumstances
    whole = len(measurement.sample_ids) * answers_averaged(ran.epochs, ran.epoch_reducer or MEAN)
    return min(1.0, answers / whole) if whole else 0.0


def _answers(measurement: Measurement) -> int:
    return len(measurement.sample_ids) * measurement.circumstances.epochs


def _measured(found: Comparison) -> tuple[str, str]:
    """What was measured, and the tolerance, in words."""
    if found.reproduced is None or found.interval is None:
        raise ValueError("nothing was measured")
    difference, limit = told_apart(abs(found.reproduced - found.claimed), found.tolerance)
    tolerance = f"the tolerance of {limit}"
    words = f"reproduced {found.reproduced:.2%}, {difference} from the claimed {found.claimed:.2%}"
    if found.samples_used + found.failed == found.population:
        return words, tolerance
    words = (
        f"{words}, after {found.samples_used + found.failed} of {found.population} samples; all samples would give "
        f"{found.interval.low:.2%} to {found.interval.high:.2%} (alpha {found.alpha})"
    )
    return words, tolerance


def _by_chance(claim: JudgedClaim, population: Population) -> str:
    noise = points(noise_of(claim, population))
    words = f"two honest runs of {population.samples} samples differ by up to {noise} by chance"
    measured = ", as was measured here" if claim.spread is not None else ""
    rounding = rounding_of(claim.claimed)
    rounded = f", and the claim is rounded by up to {points(rounding)}" if rounding >= NOTABLE_ROUNDING else ""
    return f"{words}{measured}{rounded}; {what_would_decide(claim, population)}"
