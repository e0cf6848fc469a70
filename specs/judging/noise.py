"""How much honest re-runs of one benchmark differ, from pairs of runs of the same model under the same settings.

Every sample has a difference d between its two scores. The mean of d over all N samples is the difference between the
two runs' scores. Where both runs are honest d has mean 0 for every sample, and where samples answer independently of
one another, the variance of that mean is the mean of d² divided by N: the variance of a mean. Nothing is assumed about
which samples are noisy, and a random part of the samples estimates the mean of d² as well as all of them.

What runs of one score differ by says little of another score: a model that gets 3 % right cannot differ much. So it is
carried over in parts of what coins would do, which are as often right: 2·m(1−m) of runs whose mean score is m.

Samples are not independent where something moves them all at once, as other kernels or another template would. Then
the scores of the pairs differ by more than their samples explain; `Noise.shift_variance` has the excess. It counts up
to what coins do and no further, for whoever publishes models can have them shift. The choices made here, and what they
cost: docs/decisions/0011-the-noise-ledger.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from specs.judging.tolerance import variance_of_coin
from specs.measurement import Scores

LEAST_OVERLAP = 20
"""A pair of runs with fewer samples in common is not kept: it says next to nothing."""

LEAST_COMPARISONS = 3
"""Fewer comparisons that are independent of one another say nothing: one odd run would be in nearly all of them."""

LEAST_SAMPLES = 200
"""Fewer samples in common, in all pairs together, say nothing: where one sample in twenty differs, from here on the
upper bound makes the spread at most 1.3 times too wide."""

LEAST_MODELS = 3
"""Fewer say nothing of others: some models answer alike whenever they are asked. As many authors are wanted: the same
model with another README is other weights, which cost their author nothing."""

ONE_SIDED_95 = 1.645
ONE_SIDED_99 = 2.326
"""Quantiles of the normal distribution."""

BYTES_PER_PARAMETER = 2
"""Of nearly all published weights: bfloat16 or float16. Those of 8 bits are counted as half as many."""

BILLION = 10**9
CLASSES = ((1, "below 1B"), (4, "1B to 4B"), (16, "4B to 16B"), (64, "16B to 64B"))
LARGEST_CLASS = "64B and more"


@dataclass(frozen=True)
class Difference:
    """Two runs compared, on the samples that both have scored. Scores are proportions."""

    samples: int
    mean: float
    """Of the later score less the earlier."""

    mean_square: float
    score: float
    """Mean of both runs' scores."""


@dataclass(frozen=True)
class Pair:
    """Two runs, by their ids, of which weights they are, whose these are, and how they differ."""

    later: str
    earlier: str
    weights_sha256: str
    author: str
    """The namespace on the Hub of the later run's model."""

    difference: Difference


@dataclass(frozen=True)
class Noise:
    """What several pairs say together."""

    pairs: int
    comparisons: int
    """Pairs that are independent of one another: runs, less the models (or settings) that they are runs of."""

    models: int
    """By their weights, and no more than they have authors."""

    samples: int
    """In common, summed over the pairs."""

    mean_difference: float
    mean_square: float
    """Of the difference between a sample's two scores."""

    mean_square_bound: float
    """An upper bound on it, right in 95 of 100: the fewer samples in common, the further above."""

    coins_mean_square: float
    """The `mean_square` to be expected if each answer were an independent coin toss with those runs' accuracy; 0 if
    every answer was right, or none was."""

    shift_variance: float
    """Of what moves all samples of a run at once; 0 where the samples explain how the scores differ."""

    def spread(self, population: int, score: float | None = None) -> float | None:
        """Standard deviation, as a proportion, of the difference between two full runs' scores of so many samples.

        √(upper bound on mean d² / N + variance of shifts), for models that score as those of the pairs did; else with
        the bound in proportion to what coins of that score would do. Never more than those coins do: nothing that
        answers sample by sample differs more, and what shifts whole runs may be made by whoever gains from it. None
        where there is too little to say.
        """
        if self.models < LEAST_MODELS or self.comparisons < LEAST_COMPARISONS or self.samples < LEAST_SAMPLES:
            return None
        bound, coins = self.mean_square_bound, self.coins_mean_square
        if score is not None:
            coins = 2 * variance_of_coin(score, population)
            bound = coins * self._part_of_coins
        # Of few samples the bound may be above what coins did: that is doubt, which is not cut.
        return math.sqrt(min(bound / population + self.shift_variance, max(bound, coins) / population))

    @property
    def _part_of_coins(self) -> float:
        """An upper bound: where so few samples differed that they may have been coins', all of it."""
        if self.mean_square_bound >= self.coins_mean_square:
            return 1.0
        return self.mean_square_bound / self.coins_mean_square


@dataclass(frozen=True)
class MeasuredNoise:
    """What the noise ledger says for claims on a task: of two honest full runs."""

    noise: Noise
    population: int
    """Samples that the task has."""

    source: str
    """What it was measured on, in words."""

    def spread(self, claimed: float) -> float | None:
        """Standard deviation of the difference between their scores, for a model of about that score: proportions."""
        return self.noise.spread(self.population, claimed)


def difference(later: Scores, earlier: Scores) -> Difference | None:
    """How two runs differ; None where they have fewer than `LEAST_OVERLAP` scored samples in common.

    Each may have scored any part of the samples, as long as which part was not chosen by the scores.
    """
    both = [
        (score, before)
        for sample, score in later.items()
        if score is not None and (before := earlier.get(sample)) is not None
    ]
    if len(both) < LEAST_OVERLAP:
        return None
    return Difference(
        samples=len(both),
        mean=math.fsum(score - before for score, before in both) / len(both),
        mean_square=math.fsum((score - before) ** 2 for score, before in both) / len(both),
        score=math.fsum(map(math.fsum, both)) / (2 * len(both)),
    )


def noise_in(pairs: Sequence[Pair]) -> Noise:
    """Put pairs together, each by its samples.

    Raises:
        ValueError: there are none.
    """
    if not pairs:
        raise ValueError("no pairs of runs")
    found = [pair.difference for pair in pairs]
    samples = sum(each.samples for each in found)
    mean_square = math.fsum(each.samples * each.mean_square for each in found) / samples
    comparisons = _comparisons(pairs)
    # Of R runs of one model, R(R−1)/2 pairs hold no more than R−1 independent ones.
    independent = comparisons / len(pairs)
    return Noise(
        pairs=len(pairs),
        comparisons=comparisons,
        models=min(len({pair.weights_sha256 for pair in pairs}), len({pair.author for pair in pairs})),
        samples=samples,
        mean_difference=math.fsum(each.samples * each.mean for each in found) / samples,
        mean_square=mean_square,
        mean_square_bound=_upper_bound(mean_square, samples * independent),
        # Not kept away from 0 as a claim's is: what the runs are measured by must not come out too large.
        coins_mean_square=math.fsum(2 * each.samples * each.score * (1 - each.score) for each in found) / samples,
        shift_variance=_shift_variance(pairs, samples, mean_square, independent),
    )


def model_class(weights_bytes: int) -> str:
    """The bucket of a model by the size of its weights, taken as two bytes a parameter."""
    billions = weights_bytes / BYTES_PER_PARAMETER / BILLION
    return next((name for bound, name in CLASSES if billions < bound), LARGEST_CLASS)


def _comparisons(pairs: Sequence[Pair]) -> int:
    """Runs less connected groups of them: the edges of a spanning forest."""
    group: dict[str, str] = {}

    def first_of(run: str) -> str:
        while group.setdefault(run, run) != run:
            run = group[run]
        return run

    joined = 0
    for pair in pairs:
        one, other = first_of(pair.later), first_of(pair.earlier)
        if one != other:
            group[one] = other
            joined += 1
    return joined


def _upper_bound(mean: float, count: float) -> float:
    """Upper 95 % bound on the mean of something in [0, 1], as d² is, from the mean of so many.

    Wilson's score bound ("Probable inference", 1927), which is for right and wrong: nothing else in [0, 1] with that
    mean scatters more (Bhatia and Davis, "A better bound on the variance", 2000). Above 0 where nothing differed.
    """
    z2 = ONE_SIDED_95**2
    half_width = ONE_SIDED_95 * math.sqrt(mean * (1 - mean) / count + z2 / (4 * count**2))
    return min(1.0, (mean + z2 / (2 * count) + half_width) / (1 + z2 / count))


def _shift_variance(pairs: Sequence[Pair], samples: int, mean_square: float, independent: float) -> float:
    """The variance of the pairs' mean differences beyond that of their samples, by the method of moments.

    As in a random-effects meta-analysis about a mean of 0 (DerSimonian and Laird, 1986), and only where the excess is
    significant at 1 %: the estimate cannot be negative, so that noise alone would else count as shifts.
    """
    between = math.fsum(pair.difference.samples * pair.difference.mean**2 for pair in pairs)
    excess = between - len(pairs) * mean_square
    degrees = independent * len(pairs)
    if mean_square == 0 or independent * between / mean_square <= _chi_square_99(degrees):
        return 0.0
    return max(0.0, excess / samples)


def _chi_square_99(degrees: float) -> float:
    """The 99 % quantile of the chi-square distribution (Wilson and Hilferty, 1931)."""
    part = 2 / (9 * degrees)
    return degrees * (1 - part + ONE_SIDED_99 * math.sqrt(part)) ** 3
