"""When a run may stop, as far as it can be said before anyone has opened the dataset.

The control plane fixes this when a reproduction is first sent out, and never changes it after. The worker completes it
by what only the dataset tells (`stopping_rule`), runs by it, and the control plane judges by the very same rule.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.epochs import MEAN, answers_averaged
from specs.judging.scale import points
from specs.judging.stopping_rule import ClaimedScore, Predictor, StoppingRule
from specs.judging.tolerance import (
    LEAST_TOLERANCE,
    NORMAL_99,
    chance_between_runs,
    chance_of_coins,
    rounding_of,
)
from specs.measurement import Proportion, Sha256


class JudgedClaim(Contract):
    """A claim that a run is to answer."""

    claim_id: str
    claimed: Proportion
    tolerance: Annotated[float, Field(gt=0, le=1)] | None
    """Policy's; None is `tolerance_for` of the samples that the dataset turns out to have."""

    spread: Annotated[float, Field(ge=0, le=1)] | None = None
    """Measured standard deviation of the difference between two honest full runs; None where too little is known."""


class LinkedTo(Contract):
    """A log whose scores are a predictor."""

    log_sha256: Sha256
    targets_sha256: Sha256
    """Digest of the targets in it, in words (`targets_sha256`, `target_in_words`)."""


class Stopping(Contract):
    """By what a run stops by itself."""

    claims: Annotated[tuple[JudgedClaim, ...], Field(min_length=1)]
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    minimum_samples: Annotated[int, Field(ge=1)]
    maximum_failed_fraction: Annotated[float, Field(ge=0, lt=1)]
    predictors: tuple[Predictor, ...] = ()
    """In the run's seeded order. Ignored where the dataset has another number of samples."""

    linked: LinkedTo | None = None
    """Where the first predictor is the scores of a log that a claim links to. It is ignored where the dataset has other
    targets than that log."""


class Population(Contract):
    """What only the dataset, the spec and the settings in effect tell of a run."""

    samples: Annotated[int, Field(ge=1)]
    """N: samples that the task has."""

    epochs: Annotated[int, Field(ge=1)]
    reducer: str = MEAN
    """Inspect's name of what makes one score of several epochs."""

    epochs_repeat: bool = False
    """Whether one epoch samples what the others do (`EffectiveGeneration.epochs_repeat`)."""

    targets_sha256: Sha256


def targets_sha256(targets: Iterable[str | Sequence[str]]) -> str:
    """Digest of all samples' targets, in the order of the dataset: SHA-256 of each as a line of JSON."""
    digest = hashlib.sha256()
    for target in targets:
        digest.update(json.dumps(target if isinstance(target, str) else list(target)).encode() + b"\n")
    return digest.hexdigest()


def target_in_words(target: str | Sequence[str], choices: Sequence[str] | None) -> str | list[str]:
    """A sample's target, the letters of a multiple-choice question as the choices that they stand for.

    So it is the same in whichever order a run has shuffled the choices, of which its log has each sample's. What stands
    for no choice is left as it is.
    """
    letters = [target] if isinstance(target, str) else list(target)
    places = [ord(letter) - ord("A") if len(letter) == 1 else -1 for letter in letters]
    if not choices or any(not 0 <= place < len(choices) for place in places):
        return target if isinstance(target, str) else letters
    words = [choices[place] for place in places]
    return words[0] if isinstance(target, str) else sorted(words)


def tolerance_for(claim: JudgedClaim, samples: int) -> float:
    """The widest difference, as a proportion, that still counts as reproduced.

    Policy's, else the greater of 0.01 and `chance_of_coins` for the claimed score on so many samples: an honest re-run
    of a sampled model differs by so much by chance.
    """
    if claim.tolerance is not None:
        return claim.tolerance
    return max(LEAST_TOLERANCE, chance_of_coins(claim.claimed, samples))


def noise_of(claim: JudgedClaim, population: Population) -> float:
    """By how much an honest claim and an honest full run differ by chance, in 99 of 100 at most: as a proportion.

    From the spread that was measured; else that of a coin as likely right as the claim says for each answer that is
    averaged, the most that sampling of answers can do; epochs that repeat one another are one. No claim says how many
    epochs it is the mean of: one is assumed.
    """
    if claim.spread is not None:
        return NORMAL_99 * claim.spread
    averaged = 1 if population.epochs_repeat else answers_averaged(population.epochs, population.reducer)
    return chance_between_runs(claim.claimed, population.samples, population.samples * averaged)


def doubtful_beyond(claim: JudgedClaim, population: Population) -> float | None:
    """The difference up to which one beyond the tolerance may be that of an honest claim; None where there is none.

    By chance, and by how the claim was rounded. No mismatch is told from less: docs/decisions/0033.
    """
    honest = min(1.0, noise_of(claim, population) + rounding_of(claim.claimed))
    return honest if honest > tolerance_for(claim, population.samples) else None


LEAST_SCORED = 2
"""Samples: a single one decides nothing, as it has no standard error."""


def why_none_proves(claimed: float, tolerance: float) -> str | None:
    """Why no score whatever could decide a claim, in words; None where one could."""
    if claimed - tolerance <= 0 and claimed + tolerance >= 1:
        return f"with a tolerance of {points(tolerance)} every score there is would match, so none proves anything"
    return None


def what_would_decide(claim: JudgedClaim, population: Population) -> str:
    """The tolerance by which a difference in doubt would match."""
    width = doubtful_beyond(claim, population) or tolerance_for(claim, population.samples)
    # Rounded up to what is shown: a hair less would not decide.
    return f"a tolerance of {points(math.ceil(width * 10_000) / 10_000)} would decide"


def stopping_rule(stopping: Stopping, population: Population) -> StoppingRule:
    """The rule of a run on that population.

    For each claim its tolerance band; behind all of those, the wider band of each claim with differences in doubt.
    """
    tolerances = [(each, tolerance_for(each, population.samples)) for each in stopping.claims]
    doubtful = [(each, doubtful_beyond(each, population)) for each in stopping.claims]
    bands = [*tolerances, *((each, width) for each, width in doubtful if width is not None)]
    return StoppingRule(
        claims=tuple(ClaimedScore(claimed=each.claimed, tolerance=width) for each, width in bands),
        population=population.samples,
        alpha=stopping.alpha,
        minimum_samples=stopping.minimum_samples,
        maximum_failed_fraction=stopping.maximum_failed_fraction,
        answers_averaged=answers_averaged(population.epochs, population.reducer),
        predictors=usable_predictors(stopping, population),
    )


def usable_predictors(stopping: Stopping, population: Population) -> tuple[Predictor, ...]:
    """The predictors that are about this dataset's samples."""
    found, linked = stopping.predictors, stopping.linked
    if any(len(each.values) != population.samples for each in found):
        return ()
    return found if linked is None or linked.targets_sha256 == population.targets_sha256 else found[1:]


def is_guided_by(stopping: Stopping, population: Population, log_sha256: str) -> bool:
    """Whether that linked log's scores are among the predictors that a run uses."""
    linked = stopping.linked
    if linked is None or linked.log_sha256 != log_sha256:
        return False
    return len(usable_predictors(stopping, population)) == len(stopping.predictors)
