"""`make bench-honest`: what becomes of honest claims, and of false ones, where a model differs from itself.

Both scores are of runs: the claim is its author's, what is held against it the farm's. Two tables are computed, not
drawn; the third replays real per-question results by the very rule that runs stop by.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from deploy.cli.terminal import console, percent, points
from deploy.studies.betting_coverage import BY_CHANCE, at_least
from deploy.studies.replay import ResultTable, read_results
from specs.judging.band import EDGE, Floats
from specs.judging.power import decisions
from specs.judging.sequential import Decision, SequentialDecider
from specs.judging.stopping import (
    JudgedClaim,
    Population,
    Stopping,
    doubtful_beyond,
    stopping_rule,
    targets_sha256,
    tolerance_for,
)
from specs.policy.verification import VerificationRules

SIZES = (30, 198, 1319, 14_042)
"""As AIME, GPQA-Diamond, GSM8K and MMLU."""

SCORES = (0.05, 0.5, 0.95)
DIFFERING = (0.02, 0.05, 0.1)
"""Part of the answers that another run of the same model turns, as many in each direction."""

TRIES = (1, 2, 10)
BEYOND = (1.25, 1.5, 2.0)
"""By how many tolerances a claim is above what its model scores on average."""

REPLAYED = (198, 1319)
OFF_BY = (0.0, 0.05, 0.1, 0.2)
NOT_ASKED = targets_sha256(())

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Chances:
    """Of an honest claim."""

    outside: float
    """Of missing the tolerance: such a claim is not verified."""

    mismatch: float
    """Of a difference beyond all that is in doubt."""


def main() -> int:
    """Print the tables; 1 if early answers differed from those of all samples more often than alpha explains."""
    parser = argparse.ArgumentParser(description="What becomes of honest and of false claims.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each model in each row of the last table")
    parser.add_argument("--samples", type=int, action="append", help="of the benchmarks there, drawn from the results")
    options = parser.parse_args()
    out = console()
    out.print(_honest())
    out.print(_tries())
    shown, agreed = _replayed(read_results(options.results), options.samples or REPLAYED, options.seeds)
    out.print(shown)
    return int(not agreed)


def chances(samples: int, score: float, differing: float | None) -> Chances:
    """Of a claim by the default tolerance, to all of its digits, and a run of the same model, both of all samples.

    `differing` is the part of its answers that the run turns; None has both runs toss a coin for each.
    """
    if differing is None:
        right, chance = _binomial(samples, score)
        claimed, differences = right / samples, np.abs(right[None, :] - right[:, None]) / samples
        together = np.outer(chance, chance)
    else:
        claims = round(score * samples)
        lost, chance_lost = _binomial(claims, min(1.0, differing * samples / (2 * claims)))
        won, chance_won = _binomial(samples - claims, min(1.0, differing * samples / (2 * (samples - claims))))
        # One claim only: all that is drawn is how the run differs from it.
        claimed = np.array([claims / samples])
        differences = np.abs(won[None, :] - lost[:, None]).ravel()[None, :] / samples
        together = np.outer(chance_lost, chance_won).ravel()[None, :]
    widths = [_widths(float(each), samples) for each in claimed]
    tolerances, doubts = (np.array(each)[:, None] + EDGE for each in zip(*widths, strict=True))
    return Chances(
        outside=float(together[differences > tolerances].sum()),
        mismatch=float(together[differences > np.maximum(tolerances, doubts)].sum()),
    )


def verified_by_chance(samples: int, score: float, beyond: float) -> float:
    """The chance of one run to verify a claim that is above its model's mean score by so many tolerances.

    The model tosses a coin for each answer.
    """
    claimed = score
    for _ in range(20):
        # The tolerance is that of the claim, which is above the score by it.
        claimed = min(1.0, score + beyond * tolerance_for(_claim(claimed), samples))
    right, chance = _binomial(samples, score)
    within = np.abs(right / samples - claimed) <= tolerance_for(_claim(claimed), samples) + EDGE
    return float(chance[within].sum())


def replayed(
    answers: Floats, differing: float, off_by: float, rng: np.random.Generator
) -> tuple[Decision, bool, float]:
    """What a claim comes to that is above its author's score by so much, to a tenth of a point.

    `answers` (N,) are the author's, right or wrong, in the run's order. Returns the answer, whether all samples would
    have given the same, and the part of the samples that it took.
    """
    samples = len(answers)
    claim = _claim(round(min(1.0, float(answers.mean()) + off_by), 3))
    run = _turned(answers, differing, rng)
    policy = VerificationRules()
    stopping = Stopping(
        claims=(claim,),
        alpha=policy.alpha,
        minimum_samples=policy.minimum_samples,
        maximum_failed_fraction=policy.maximum_failed_fraction,
    )
    rule = stopping_rule(stopping, _population(samples))
    decider = SequentialDecider(rule)
    decider.feed(run.tolist())
    found = _told([each.decision for each in decider.findings()])
    return found, found == _told(decisions(rule, float(run.mean()))), decider.seen / samples


def _honest() -> Table:
    shown = Table(title="Honest claims, default tolerance: of 100, so many", box=None)
    for title in ("samples", "score", "answers that differ", "outside the tolerance", "called a mismatch"):
        shown.add_column(title, justify="right")
    for samples in SIZES:
        for score in SCORES:
            # No more answers can differ, and the mean stay, than those of which there are fewest.
            for differing in (*(each for each in DIFFERING if each <= 2 * min(score, 1 - score)), None):
                found = chances(samples, score, differing)
                shown.add_row(
                    str(samples),
                    percent(score, digits=0),
                    "coins" if differing is None else percent(differing, digits=0),
                    f"{100 * found.outside:.2f}",
                    f"{100 * found.mismatch:.2f}",
                )
    return shown


def _tries() -> Table:
    shown = Table(title="False claims of a model that tosses coins: of 100, so many are verified", box=None)
    for title in ("samples", "score", "tolerances above it", *(f"{tries} draws" for tries in TRIES)):
        shown.add_column(title, justify="right")
    for samples in SIZES:
        for beyond in BEYOND:
            once = verified_by_chance(samples, 0.5, beyond)
            found = [f"{100 * (1 - (1 - once) ** tries):.2f}" for tries in TRIES]
            shown.add_row(str(samples), percent(0.5, digits=0), f"{beyond:g}", *found)
    return shown


def _replayed(table: ResultTable, sizes: list[int] | tuple[int, ...], seeds: int) -> tuple[Table, bool]:
    shown = Table(title="Replayed on real results, default tolerance", box=None)
    titles = ("samples", "answers that differ", "claim off by", "verified", "mismatch", "inconclusive", "used")
    for title in (*titles, "other than all samples"):
        shown.add_column(title, justify="right")
    others = 0
    for samples in sizes:
        for differing in (0.0, *DIFFERING[1:]):
            for off_by in OFF_BY:
                rng = np.random.default_rng([samples, round(1000 * differing), round(1000 * off_by)])
                runs = [
                    replayed(_drawn(scores, samples, rng), differing, off_by, rng)
                    for scores in table.models.values()
                    for _ in range(seeds)
                ]
                counts = Counter(decision for decision, *_ in runs)
                other = sum(not same for _, same, _ in runs)
                others += other
                shown.add_row(
                    str(samples),
                    percent(differing, digits=0),
                    points(off_by),
                    *(f"{100 * counts[each] / len(runs):.1f} %" for each in ("verified", "mismatch", "undecided")),
                    percent(float(np.mean([used for *_, used in runs])), digits=0),
                    str(other),
                )
    runs_in_all = len(sizes) * len((0.0, *DIFFERING[1:])) * len(OFF_BY) * len(table.models) * seeds
    # Of the tolerance and of the differences in doubt, each by the whole of alpha.
    return shown, at_least(others, runs_in_all, 2 * VerificationRules().alpha) > BY_CHANCE


def _drawn(scores: Floats, samples: int, rng: np.random.Generator) -> Floats:
    scored = scores[~np.isnan(scores)]
    return rng.choice(scored, min(samples, len(scored)), replace=False)


def _turned(answers: Floats, differing: float, rng: np.random.Generator) -> Floats:
    """Another run of the same model: each answer turned with a chance that leaves the mean as it is, on average."""
    right = float(answers.mean())
    chance = [differing / (2 * part) if part else 0.0 for part in (1 - right, right)]
    turned = rng.random(len(answers)) < np.where(answers == 1, chance[1], chance[0])
    return np.where(turned, 1 - answers, answers)


def _told(answers: list[Decision]) -> Decision:
    """A verdict of the decisions about a claim's bands: `decision.py`."""
    if answers[0] == "verified" or set(answers) == {"mismatch"}:
        return answers[0]
    return "undecided"


def _widths(claimed: float, samples: int) -> tuple[float, float]:
    claim = _claim(claimed)
    tolerance = tolerance_for(claim, samples)
    return tolerance, doubtful_beyond(claim, _population(samples)) or tolerance


def _claim(claimed: float) -> JudgedClaim:
    return JudgedClaim(claim_id="", claimed=claimed, tolerance=None)


def _population(samples: int) -> Population:
    return Population(samples=samples, epochs=1, targets_sha256=NOT_ASKED)


def _binomial(count: int, chance: float) -> tuple[Counts, Floats]:
    """Numbers of successes within nine standard deviations, and their chances."""
    reach = 9 * math.sqrt(count * chance * (1 - chance)) + 9
    numbers = np.arange(max(0, math.floor(count * chance - reach)), min(count, math.ceil(count * chance + reach)) + 1)
    if chance in {0.0, 1.0}:
        return numbers, (numbers == count * chance).astype(np.float64)
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(chance)
        + (count - k) * math.log1p(-chance)
        for k in numbers.tolist()
    ]
    return numbers, np.exp(logs)


if __name__ == "__main__":
    sys.exit(main())
