"""The hypotheses that have to be refuted before a claim is decided.

A claim's tolerance band splits the scores that the full run could have into those inside and those outside. `verified`
needs all outside refuted, `mismatch` all inside. The truth is on one side only, so each answer may use the whole of
alpha: of its refutations at least one would be of the truth if the answer were wrong.

    name        refutes a full run's total of   with alternatives   may err with probability
    HIGH        more than the band              inside the band     alpha
    LOW         less than the band              inside the band     alpha
    BELOW       the lower edge or more          below the band      USUAL of alpha
    BELOW_HALF  the claim or more               below the band      RARE of alpha
    ABOVE       the upper edge or less          above the band      1 − RARE of alpha
    ABOVE_HALF  the claim or less               above the band      1 − USUAL of alpha

verified = HIGH and LOW; mismatch = BELOW and BELOW_HALF, or ABOVE and ABOVE_HALF. A true total in the band's lower half
is refuted wrongly by BELOW or by ABOVE_HALF: together at most alpha; one in the upper half by BELOW_HALF or ABOVE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TESTS = 6
HIGH, LOW, BELOW, BELOW_HALF, ABOVE, ABOVE_HALF = range(TESTS)
VERIFIED_BY = ((HIGH, LOW),)
MISMATCH_BY = ((BELOW, BELOW_HALF), (ABOVE, ABOVE_HALF))

# Each constant below: docs/decisions/0006-what-the-tests-bet-on.md. None of them can make a verdict wrong.
USUAL, RARE = 0.95, 0.4
ALTERNATIVES = 21
NEAR_WEIGHT, NEAR_WIDTH, NEAR_SHIFT = 0.95, 0.05, 0.1
NEAREST, FARTHEST = 0.5, 0.25
EDGE = 1e-12
"""A claim on the band's edge matches; this absorbs what float subtraction adds to an exact difference."""


@dataclass(frozen=True)
class Hypotheses:
    """Tests of one-sided hypotheses on the full run's total score, stacked: T of them with J alternatives each.

    A test refutes that the total is `edges` or beyond, seen from its alternatives: where `signs` is +1 that edge or
    more, with alternatives below it; where −1 that edge or less, with alternatives above it.
    """

    edges: Floats
    """(T,) Totals, in samples' worth of score."""

    signs: Floats
    """(T,) +1 or −1."""

    alternatives: Floats
    """(T, J) Whole totals on the far side of the edge, on which the test bets."""

    log_weights: Floats
    """(T, J) Logarithms of how the stake is shared among them; sums to one for each test."""

    thresholds: Floats
    """(T,) Log of the wealth at which the hypothesis is refuted."""


def hypotheses(claimed: float, tolerance: float, population: int, alpha: float) -> Hypotheses:
    """The six tests of one claim, in the order of the table above. Scores are proportions, alpha that of the answer."""
    low, high = claimed - tolerance - EDGE, claimed + tolerance + EDGE
    below, above = _beyond(low, tolerance), _beyond(1 - high, tolerance)
    rows = [
        _test(high, 1.0, *_inside(claimed, tolerance, NEAR_SHIFT), population, alpha),
        _test(low, -1.0, *_inside(claimed, tolerance, -NEAR_SHIFT), population, alpha),
        _test(low, 1.0, low - below[0], below[1], population, USUAL * alpha),
        _test(claimed, 1.0, low - below[0], below[1], population, RARE * alpha),
        _test(high, -1.0, high + above[0], above[1], population, (1 - RARE) * alpha),
        _test(claimed, -1.0, high + above[0], above[1], population, (1 - USUAL) * alpha),
    ]
    return stack(rows)


def stack(parts: list[Hypotheses]) -> Hypotheses:
    """Several sets of tests as one."""
    return Hypotheses(
        edges=np.concatenate([part.edges for part in parts]),
        signs=np.concatenate([part.signs for part in parts]),
        alternatives=np.concatenate([part.alternatives for part in parts]),
        log_weights=np.concatenate([part.log_weights for part in parts]),
        thresholds=np.concatenate([part.thresholds for part in parts]),
    )


def certainties(tests: Hypotheses, totals: Floats, unseen: Floats) -> Floats:
    """What arithmetic alone says of each test, (B, T): +inf refuted, −inf true, 0 open.

    `totals` is the score so far, `unseen` how many samples have none yet (each will add 0 to 1), both (B, 1) or (B, T).
    """
    least, most = totals, totals + unseen
    upward = tests.signs > 0
    refuted = np.where(upward, most < tests.edges, least > tests.edges)
    true = np.where(upward, least >= tests.edges, most <= tests.edges)
    return np.where(refuted, np.inf, np.where(true, -np.inf, 0.0))


def log_mixture(log_wealth: Floats) -> Floats:
    """Log of the summed wealth over the alternatives (the last axis); −inf where all is lost."""
    most = log_wealth.max(axis=-1)
    finite = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(finite + np.log(np.exp(log_wealth - finite[..., None]).sum(axis=-1)))


def _inside(claimed: float, tolerance: float, shift: float) -> tuple[Floats, Floats]:
    """Scores within the band, most of the weight near the claim, on the side of the edge to be refuted.

    Where the answers so far lie on the other side, that edge is refuted soon enough: the other one keeps them waiting.
    """
    scores = np.linspace(max(0.0, claimed - tolerance), min(1.0, claimed + tolerance), ALTERNATIVES)
    near = np.exp(-0.5 * (((scores - claimed) / tolerance - shift) / NEAR_WIDTH) ** 2)
    return scores, NEAR_WEIGHT * near / near.sum() + (1 - NEAR_WEIGHT) / ALTERNATIVES


def _beyond(room: float, tolerance: float) -> tuple[Floats, Floats]:
    """Distances from the band's edge, in geometric steps, none beyond the `room` there is between the edge and 0 or 1.

    The samples needed go with the square of the distance, so equal ratios deserve equal weights.
    """
    farthest = min(max(FARTHEST, 2 * tolerance), max(room, EDGE))
    distances = np.geomspace(min(NEAREST * tolerance, farthest / 2), farthest, ALTERNATIVES)
    return distances, np.full(ALTERNATIVES, 1 / ALTERNATIVES)


def _test(edge: float, sign: float, scores: Floats, weights: Floats, population: int, alpha: float) -> Hypotheses:
    total = edge * population
    # Whole totals: sampling can exhaust them exactly, which keeps a bet on a dead one at nothing.
    # Strictly on the far side: a bet on the edge itself, or across it, would be no bet against the hypothesis.
    whole = np.rint(scores * population)
    whole = np.minimum(whole, np.ceil(total) - 1) if sign > 0 else np.maximum(whole, np.floor(total) + 1)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    return Hypotheses(
        edges=np.array([total]),
        signs=np.array([sign]),
        alternatives=whole[None, :],
        log_weights=log_weights[None, :],
        thresholds=np.array([-np.log(alpha)]),
    )
