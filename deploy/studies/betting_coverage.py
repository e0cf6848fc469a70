"""`make bench-betting`: how often verdicts that come from bets would be wrong at the worst truths.

Bets decide where scores are not only right or wrong, and where there are predictions. Their chances cannot be computed
as those of counts can, so here the very decider that the farm runs is fed random orders, sample after sample.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.table import Table

from deploy.cli.terminal import console
from deploy.studies.coverage import COVERED, EDGES, Edge, edge_total
from specs.judging.band import Floats
from specs.judging.betting import Places
from specs.judging.sequential import Decision, SequentialDecider, full_run_decision
from specs.judging.stopping_rule import ClaimedScore, Predictor, StoppingRule

ALPHA = 0.001
EPOCHS = 3
"""A question's score is the mean over so many, each right or wrong: thirds."""

BY_CHANCE = 1e-4
"""A count of wrong answers that alpha makes no likelier than this is an error of the tests, not bad luck."""

Told = Literal["nothing", "the claim's log", "the opposite"]
TOLD: tuple[Told, ...] = ("nothing", "the claim's log", "the opposite")
"""What the bettor is told beforehand of each question's score, all of it meant to mislead.

The claim's log holds the run's own scores, but for as few as bring its mean to the claim: what somebody would forge
who knew them. The opposite is 1 − score, said to rise with it.
"""


@dataclass(frozen=True)
class Drawn:
    """Random orders of populations at each edge of a claim's band, and how many of them had an early answer."""

    sequences: int
    wrong: dict[Edge, int]
    early: int
    """Orders that had any answer before their last sample."""

    seconds: float

    def alpha_explains(self, alpha: float) -> bool:
        """So many wrong answers may be chance."""
        return at_least(sum(self.wrong.values()), self.sequences, alpha) > BY_CHANCE


def main() -> int:
    """Print the table; 1 if answers came out wrong more often than alpha explains."""
    sizes = [population for *_, population in COVERED]
    parser = argparse.ArgumentParser(description="Wrong answers of the betting test at the band's edges.")
    parser.add_argument("--sequences", type=int, default=10_000, help="for each row, shared evenly by the four edges")
    parser.add_argument("--samples", type=int, action="append", choices=sizes, help="the largest takes an hour")
    options = parser.parse_args()
    out = console()
    shown = Table(title=f"Wrong answers from bets, with scores in thirds and alpha {ALPHA}", box=None)
    for title in ("samples", "told", "orders", *EDGES, "answered early"):
        shown.add_column(title, justify="right")
    explained = True
    for claimed, tolerance, population in COVERED:
        if population not in (options.samples or sizes[:-1]):
            continue
        for told in TOLD:
            found = wrong_answers(claimed, tolerance, population, ALPHA, told, options.sequences // len(EDGES))
            explained &= found.alpha_explains(ALPHA)
            wrong = sum(found.wrong.values())
            out.print(
                f"{population} samples, told {told}: {wrong} of {found.sequences} wrong, after {found.seconds:.0f} s"
            )
            shown.add_row(str(population), told, *map(str, (found.sequences, *found.wrong.values(), found.early)))
    out.print(shown)
    return int(not explained)


def wrong_answers(
    claimed: float, tolerance: float, population: int, alpha: float, told: Told, sequences_each: int
) -> Drawn:
    """Feed random orders of populations whose means lie at the band's edges to the decider, each until it answers.

    An answer counts from the first sample on, whatever the policy's minimum. After the last sample it is the full
    run's own, and not counted.
    """
    started = time.perf_counter()
    wrong, early = dict.fromkeys(EDGES, 0), 0
    for edge in EDGES:
        rng = np.random.default_rng([population, EDGES.index(edge), TOLD.index(told)])
        scores = _scores(population, edge_total(claimed, tolerance, population * EPOCHS, edge), rng)
        values = _values(scores, claimed, told, rng)
        truth = full_run_decision(float(scores.mean()), claimed, tolerance)
        for _ in range(sequences_each):
            answer = _early_answer(rng.permutation(population), scores, values, (claimed, tolerance), alpha)
            early += answer is not None
            wrong[edge] += answer not in {None, truth}
    return Drawn(sequences_each * len(EDGES), wrong, early, time.perf_counter() - started)


def at_least(count: int, draws: int, chance: float) -> float:
    """Probability of so many or more of `draws`, each with that chance: one less the binomial distribution's sum."""
    fewer = (
        math.lgamma(draws + 1)
        - math.lgamma(k + 1)
        - math.lgamma(draws - k + 1)
        + k * math.log(chance)
        + (draws - k) * math.log1p(-chance)
        for k in range(count)
    )
    return 1 - math.fsum(map(math.exp, fewer))


def _scores(population: int, thirds: int, rng: np.random.Generator) -> Floats:
    """(N,) Scores of questions of unlike ease, with that total."""
    ease = rng.beta(1.0, population * EPOCHS / thirds - 1, population)
    right = rng.binomial(EPOCHS, ease)
    while (missing := thirds - int(right.sum())) != 0:
        room = np.flatnonzero(right < EPOCHS if missing > 0 else right > 0)
        right[rng.choice(room, min(abs(missing), len(room)), replace=False)] += np.sign(missing)
    return np.asarray(right / EPOCHS)


def _values(scores: Floats, claimed: float, told: Told, rng: np.random.Generator) -> Floats | None:
    """(N,) What the predictor says of each question; None where there is none."""
    if told == "nothing":
        return None
    if told == "the opposite":
        return 1 - scores
    excess = round(claimed * len(scores) * EPOCHS) - round(float(scores.sum()) * EPOCHS)
    log = scores.copy()
    # Whole questions, since each then costs the bets as much as it can.
    fit = np.flatnonzero(log == (0.0 if excess > 0 else 1.0))
    log[rng.choice(fit, min(abs(excess) // EPOCHS, len(fit)), replace=False)] += np.sign(excess)
    return log


def _early_answer(
    order: Places, scores: Floats, values: Floats | None, claim: tuple[float, float], alpha: float
) -> Decision | None:
    """The answer that was reached before the last sample."""
    predictors = () if values is None else (Predictor(values=tuple(values[order].tolist()), slope=1.0),)
    decider = SequentialDecider(
        StoppingRule(
            claims=(ClaimedScore(claimed=claim[0], tolerance=claim[1]),),
            population=len(scores),
            alpha=alpha,
            minimum_samples=1,
            maximum_failed_fraction=0.0,
            predictors=predictors,
        )
    )
    decider.feed(scores[order].tolist())
    return decider.findings()[0].decision if decider.seen < len(scores) else None


if __name__ == "__main__":
    sys.exit(main())
