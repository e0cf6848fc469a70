"""How often a verdict would be wrong at the worst truths, if one looked after every sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from specs.judging import band
from specs.judging.band import Floats, hypotheses
from specs.judging.counting import stopping_bounds
from specs.judging.sequential import SHOWN

COVERED = ((0.4, 0.07, 198), (0.6, 0.03, 1319), (0.4, 0.02, 12_032))
"""Claimed score, tolerance and size of the benchmarks whose error is measured: as GPQA-Diamond, GSM8K, MMLU-Pro."""

BATCH = 250
NEGLIGIBLE = 1e-16
"""Chances below this are dropped: all of them together are far below any alpha."""

Edge = Literal["just above", "just inside, high", "just inside, low", "just below"]
EDGES: tuple[Edge, ...] = ("just above", "just inside, high", "just inside, low", "just below")


@dataclass(frozen=True)
class Coverage:
    """Random orders of one population, and those of them in which the wrong answer was ever reached."""

    population: int
    right: int
    sequences: int
    wrong: int
    probability: float
    """Of a wrong answer, computed and not drawn."""


def edge_total(claimed: float, tolerance: float, population: int, edge: Edge) -> int:
    """The number right that lies nearest to an edge of the band, on one side of it."""
    high = math.floor((claimed + tolerance + band.EDGE) * population)
    low = math.ceil((claimed - tolerance - band.EDGE) * population)
    return {"just above": high + 1, "just inside, high": high, "just inside, low": low, "just below": low - 1}[edge]


def wrong_answers(
    claimed: float, tolerance: float, population: int, alpha: float, edge: Edge, sequences: int
) -> Coverage:
    """Draw random orders of a population whose mean lies at the band's edge, and look after every sample.

    A wrong answer counts whenever it is reached, so the count is the worst that any choice of when to stop can do. The
    last sample is left out: after it the answer is the full run's. The probability of the same follows from the
    chances of every number right that can be reached.
    """
    right = edge_total(claimed, tolerance, population, edge)
    tests = hypotheses(claimed, tolerance, population, alpha * (1 - SHOWN))
    bounds = stopping_bounds(tests, population, np.arange(1, population, dtype=np.float64))
    ways = band.VERIFIED_BY if edge in ("just above", "just below") else band.MISMATCH_BY
    rng = np.random.default_rng([population, right])
    scores = np.zeros((BATCH, population), dtype=np.int16)
    scores[:, :right] = 1
    wrong = 0
    for start in range(0, sequences, BATCH):
        orders = rng.permuted(scores[: min(BATCH, sequences - start)], axis=1)
        wrong += int(_ever(np.cumsum(orders, axis=1, dtype=np.int16)[:, :-1], bounds, tests.signs, ways).sum())
    probability = sum(_probability(population, right, bounds[:, list(way)], tests.signs[list(way)]) for way in ways)
    return Coverage(population, right, sequences, wrong, probability)


def _ever(
    right: NDArray[np.int16], bounds: Floats, signs: Floats, ways: tuple[tuple[int, ...], ...]
) -> NDArray[np.bool_]:
    """(R,) whether all tests of one of the ways have refuted, each at any time."""

    def refuted(test: int) -> NDArray[np.bool_]:
        limit = bounds[:, test].astype(np.int16)
        return np.asarray((right <= limit if signs[test] > 0 else right >= limit).any(axis=1))

    return np.asarray(np.any([np.all([refuted(test) for test in tests], axis=0) for tests in ways], axis=0))


def _probability(population: int, right: int, bounds: Floats, signs: Floats) -> float:
    """That both of two tests ever refute; `bounds` (N − 1, 2) after each sample but the last.

    Goes through all that can be drawn, sample by sample, and keeps apart what neither, the first and the second
    refuted so far.
    """
    chance, first = np.zeros((3, 1)), 0
    chance[0, 0] = 1.0
    wrong = 0.0
    for drawn in range(1, population):
        counts = first + np.arange(chance.shape[1])
        next_right = np.clip((right - counts) / (population - drawn + 1), 0, 1)
        grown = np.zeros((3, chance.shape[1] + 1))
        grown[:, 1:] += chance * next_right
        grown[:, :-1] += chance * (1 - next_right)
        counts = first + np.arange(grown.shape[1])
        one, two = (
            counts <= limit if sign > 0 else counts >= limit
            for limit, sign in zip(bounds[drawn - 1], signs, strict=True)
        )
        wrong += float(grown[0, one & two].sum() + grown[1, two].sum() + grown[2, one].sum())
        kept = np.stack(
            [
                np.where(one | two, 0, grown[0]),
                np.where(two, 0, grown[1] + np.where(one, grown[0], 0)),
                np.where(one, 0, grown[2] + np.where(two, grown[0], 0)),
            ]
        )
        likely = np.flatnonzero(kept.sum(axis=0) > NEGLIGIBLE)
        if not len(likely):
            return wrong
        first += int(likely[0])
        chance = kept[:, likely[0] : likely[-1] + 1]
    return wrong
