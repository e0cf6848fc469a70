"""What judging a claim will cost and come to, said before a GPU is used. Pure: no clock, no network, no database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.epochs import MEAN
from specs.judging.band import EDGE
from specs.judging.power import LOOKS_APART, Expected, decisions, simulated
from specs.judging.scale import points
from specs.judging.stopping import (
    LEAST_SCORED,
    JudgedClaim,
    Population,
    Stopping,
    doubtful_beyond,
    noise_of,
    stopping_rule,
    targets_sha256,
    tolerance_for,
    what_would_decide,
    why_none_proves,
)
from specs.judging.stopping_rule import StoppingRule
from specs.judging.tolerance import NORMAL_95, NORMAL_99
from specs.judging.verdict import Outcome
from specs.measurement import Proportion
from specs.policy.verification import Mode

OFF_BY = (0.0, 0.02, 0.05, 0.10, 0.20)
"""By how much the claim may be above what a full run would give: proportions."""

RUNS = 1000
"""A mean cost is then sure to two parts in a hundred of itself."""

ROUGH_RUNS, ROUGH_LOOKS_APART = 200, 1.05
"""For a clause in a reason, of which a round of planning makes hundreds."""

ROUGH_DIGITS = 2
"""Of the claimed score there, so that a benchmark's claims share their simulations."""

SAVES_LITTLE = 0.67
"""Stopping early is not worth the name where a true claim takes more of the samples than this."""

WIDE = 0.05
"""A tolerance that comes from chance alone and is wider than this is worth a word."""

LIKELY = 0.5
_NOT_READ = targets_sha256(())
"""Nobody has opened the dataset yet; without predictors nothing depends on its targets."""


class Foreseen(Contract):
    """How a claim will be judged, as far as policy, spec and dataset card tell it."""

    dataset_revision: str
    """The commit on which it is, or would be, run."""

    task_id: str | None
    """None where the benchmark's only task has no id."""

    claimed: Proportion
    tolerance: Annotated[float, Field(gt=0, le=1)] | None
    """Policy's; None is `specs.judging.stopping.tolerance_for` of the samples that there turn out to be."""

    spread: Annotated[float, Field(ge=0, le=1)] | None
    mode: Mode
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    minimum_samples: Annotated[int, Field(ge=1)]
    maximum_failed_fraction: Annotated[float, Field(ge=0, lt=1)]
    sample_limit: Annotated[int, Field(ge=1)] | None
    epochs: Annotated[int, Field(ge=1)]
    reducer: str = MEAN
    """Inspect's name of what makes one score of several epochs."""

    # Left out where it is not so: control workers of the version before read it too.
    epochs_repeat: Annotated[bool, Field(exclude_if=lambda value: not value)] = False
    """Whether by spec or policy one epoch samples what the others do."""

    history: bool
    """Whether earlier runs may predict answers."""

    card_samples: Annotated[int, Field(ge=1)] | None
    """As the dataset's card says; None where it does not."""

    every_sample: bool = False
    """Whether a run of every sample answers it whatever `mode` says: one was sent before (docs/decisions/0033)."""


@dataclass(frozen=True)
class Case:
    """What a reproduction comes to if the claim is off by so much."""

    off_by: float
    """The claim less the full run's score, a proportion."""

    expected: Expected
    verdict: Outcome
    """The likeliest: inconclusive where the difference may be chance, or the run reaches its limit undecided."""


@dataclass(frozen=True)
class Forecast:
    """What judging a claim by itself will cost, without predictions, which make it less."""

    samples: int
    tolerance: float
    noise: float
    """By how much honest runs differ by chance: `specs.judging.stopping.noise_of`."""

    doubtful_beyond: float | None
    """The difference up to which one beyond the tolerance may be an honest claim's; None where the tolerance covers
    those."""

    cases: tuple[Case, ...]
    """The first is a true claim. Those whose full run would score below 0 are left out."""

    words: tuple[str, ...]
    """What somebody should know before the run; empty where there is nothing."""


def forecast(foreseen: Foreseen, samples: int) -> Forecast:
    """What judging a claim on so many samples will cost, by how far it is from the truth."""
    claim, population = _judged(foreseen, samples)
    off_by = tuple(off for off in OFF_BY if off <= foreseen.claimed + EDGE)
    true_scores = tuple(max(0.0, foreseen.claimed - off) for off in off_by)
    limit = foreseen.sample_limit
    found = _expected(_rule(foreseen, claim, population), true_scores, _mode(foreseen), limit, RUNS, LOOKS_APART)
    if _why_undecidable(claim, samples, limit) is not None:
        found = tuple(replace(each, verified=0.0, mismatch=0.0) for each in found)
    cases = tuple(Case(off, each, _likeliest(each)) for off, each in zip(off_by, found, strict=True))
    return Forecast(
        samples=samples,
        tolerance=tolerance_for(claim, samples),
        noise=noise_of(claim, population),
        doubtful_beyond=doubtful_beyond(claim, population),
        cases=cases,
        words=_words(foreseen, claim, population, found[0], limit),
    )


def in_short(foreseen: Foreseen, samples: int) -> str:
    """A clause on what a true claim will cost, and why it may not be decided: quick, and roughly right."""
    limit = foreseen.sample_limit
    found = _roughly(foreseen, samples)
    if _mode(foreseen) == "full" or samples <= foreseen.minimum_samples:
        clauses = [f"all {samples} samples" if limit is None or limit >= samples else f"{limit} of {samples} samples"]
    else:
        clauses = [f"about {found.mean_samples / samples:.0%} of {samples} samples if true"]
    if limit is not None and limit < samples and found.undecided > LIKELY:
        clauses.append(f"its limit of {limit} samples will hardly decide")
    claim, population = _judged(foreseen, samples)
    if (why := _why_undecidable(claim, samples, limit)) is not None:
        clauses.append(why)
    elif _is_too_small(claim, population):
        clauses.append(_too_small(claim, population))
    return "; ".join(clauses)


def samples_if_true(foreseen: Foreseen, samples: int) -> float:
    """How many of so many samples a true claim is expected to take: quick, and roughly right."""
    return _roughly(foreseen, samples).mean_samples


@lru_cache(maxsize=1024)
def _roughly(foreseen: Foreseen, samples: int) -> Expected:
    # Remembered: it is asked for the words and for the cost of a claim, and many claims say the same.
    claimed = round(foreseen.claimed, ROUGH_DIGITS)
    near, population = _judged(foreseen.model_copy(update={"claimed": claimed}), samples)
    rule = _rule(foreseen, near, population)
    return _expected(rule, (claimed,), _mode(foreseen), foreseen.sample_limit, ROUGH_RUNS, ROUGH_LOOKS_APART)[0]


def _mode(foreseen: Foreseen) -> Mode:
    return "full" if foreseen.every_sample else foreseen.mode


@lru_cache(maxsize=1024)
def _expected(
    rule: StoppingRule, true_scores: tuple[float, ...], mode: Mode, limit: int | None, runs: int, looks_apart: float
) -> tuple[Expected, ...]:
    if mode == "full" and (limit is None or limit >= rule.population):
        return tuple(_of_all_samples(rule, true_score) for true_score in true_scores)
    found = simulated(rule, true_scores, limit=limit, runs=runs, looks_apart=looks_apart)
    if mode == "sequential":
        return found
    return tuple(Expected(each.true_score, float(limit or 0), each.verified, each.mismatch) for each in found)


def _of_all_samples(rule: StoppingRule, true_score: float) -> Expected:
    answers = decisions(rule, true_score)
    verified, mismatch = answers[0] == "verified", all(answer == "mismatch" for answer in answers)
    return Expected(true_score, float(rule.population), float(verified), float(mismatch))


def _judged(foreseen: Foreseen, samples: int) -> tuple[JudgedClaim, Population]:
    claim = JudgedClaim(claim_id="", claimed=foreseen.claimed, tolerance=foreseen.tolerance, spread=foreseen.spread)
    return claim, Population(
        samples=samples,
        epochs=foreseen.epochs,
        reducer=foreseen.reducer,
        epochs_repeat=foreseen.epochs_repeat,
        targets_sha256=_NOT_READ,
    )


def _rule(foreseen: Foreseen, claim: JudgedClaim, population: Population) -> StoppingRule:
    stopping = Stopping(
        claims=(claim,),
        alpha=foreseen.alpha,
        minimum_samples=foreseen.minimum_samples,
        maximum_failed_fraction=foreseen.maximum_failed_fraction,
    )
    return stopping_rule(stopping, population)


def _likeliest(expected: Expected) -> Outcome:
    chances = {
        Outcome.VERIFIED: expected.verified,
        Outcome.MISMATCH: expected.mismatch,
        Outcome.INCONCLUSIVE: expected.undecided,
    }
    return max(chances, key=lambda outcome: chances[outcome])


def _why_undecidable(claim: JudgedClaim, samples: int, limit: int | None) -> str | None:
    """Why a run will be inconclusive whatever it finds; None where it can decide."""
    asked = samples if limit is None else min(limit, samples)
    if asked < LEAST_SCORED:
        return f"{asked} sample is too few to decide"
    return why_none_proves(claim.claimed, tolerance_for(claim, samples))


def _words(
    foreseen: Foreseen, claim: JudgedClaim, population: Population, true_case: Expected, limit: int | None
) -> tuple[str, ...]:
    part, words = true_case.mean_samples / population.samples, []
    beyond = doubtful_beyond(claim, population) or tolerance_for(claim, population.samples)
    if foreseen.every_sample and foreseen.mode == "sequential":
        words.append("a run of this model on this benchmark was made before, so one of every sample answers this claim")
    elif foreseen.mode == "sequential" and part > SAVES_LITTLE:
        words.append(f"{population.samples} samples: early stopping saves little ({part:.0%} expected)")
    if limit is not None and limit < population.samples and true_case.undecided > 0:
        words.append(f"{true_case.undecided:.0%} of such runs of a true claim reach their limit of {limit} undecided")
    if (why := _why_undecidable(claim, population.samples, limit)) is not None:
        words.append(why)
    elif _is_too_small(claim, population):
        words.append(_too_small(claim, population))
    elif claim.tolerance is None and tolerance_for(claim, population.samples) > WIDE:
        words.append(
            f"so small that a claim counts as reproduced up to {points(tolerance_for(claim, population.samples))} off,"
            f" and as a mismatch only beyond {points(beyond)}: honest runs differ by as much by chance"
        )
    return tuple(words)


def _is_too_small(claim: JudgedClaim, population: Population) -> bool:
    """Whether more than 5 in 100 honest claims may miss a tolerance that somebody set."""
    if claim.tolerance is None:
        return False
    return claim.tolerance < noise_of(claim, population) * NORMAL_95 / NORMAL_99 - EDGE


def _too_small(claim: JudgedClaim, population: Population) -> str:
    tolerance, width = tolerance_for(claim, population.samples), doubtful_beyond(claim, population)
    return (
        f"too small for its tolerance of {points(tolerance)}: differences up to {points(width or tolerance)} may be"
        f" chance; {what_would_decide(claim, population)}"
    )
