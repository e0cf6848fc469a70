"""Evidence from scores anywhere in [0, 1], with what is already known about each sample as a guide.

A betting test for sampling without replacement (Waudby-Smith and Ramdas, "Estimating means of bounded random variables
by betting", Journal of the Royal Statistical Society B, 2024, section 5). If the full run's total is E, the next score
x has the known mean m = (E − total so far) / (samples left). A stake b on x − m, chosen before x is seen and small
enough to never lose everything, multiplies the wealth by 1 + b·(x − m): a martingale, and a supermartingale if the
total lies beyond E. Ville's inequality bounds the chance that it ever reaches 1/alpha by alpha.

Control variate: with any prediction p of each sample's score, made from the past, p̄ the mean prediction of the samples
left is known as well, and x − m − (p − p̄) has mean zero too. The better the predictions, the smaller its variance and
the larger the stakes; nothing about them is assumed, so bad ones cost samples and cannot make a verdict wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specs.judging.band import Floats, Hypotheses, certainties, log_mixture

Places = NDArray[np.int64]

# Each constant: docs/decisions/0007-how-bets-are-sized.md. None of them can make a verdict wrong.
PRIOR_SAMPLES = 20.0
"""Weight of the claim in the running mean that residuals are taken from, in samples."""

SPREAD_SAMPLES = 10.0
"""Weight of the variance expected before anything is seen, in samples."""

SLOPE_SAMPLES = 300.0
"""Weight of the slopes expected before anything is seen, in samples."""

LARGEST_LOSS = 0.9
"""No score can take more than this part of an alternative's wealth."""

SMALLEST_SPREAD = 0.05
FIRST_STEP, LAST_STEP = 8, 64


class Bettor:
    """Tests claims by betting on one sample after another.

    Stakes and predictions are refitted after set numbers of samples, so how the scores arrive, one by one or all at
    once, changes nothing, down to the last bit.
    """

    def __init__(self, tests: Hypotheses, expected: float, features: Floats, slopes: Floats) -> None:
        """Before the first sample.

        Args:
            tests: What is to be refuted.
            expected: The score to expect, a proportion.
            features: (N, D) What is known of each sample, by its place in the run's order. D may be 0.
            slopes: (D,) By how much a score is expected to rise with each feature.
        """
        self._tests = tests
        self._population = len(features)
        self._expected = expected
        self._features = features - features.mean(axis=0)
        left = np.arange(self._population, 0, -1.0)[:, None]
        self._features_left = np.cumsum(self._features[::-1], axis=0)[::-1] / left
        spread = SLOPE_SAMPLES * np.mean(self._features**2, axis=0)
        self._gram = np.diag(spread + 1e-9)
        self._moment = self._gram @ slopes
        self._prior = self._gram.copy(), self._moment.copy()
        variance = max(expected * (1 - expected), SMALLEST_SPREAD)
        # Weight, then sums of squares, cubes and fourth powers of the residuals: of a coin with that variance.
        self._residuals = SPREAD_SAMPLES * np.array([1.0, variance, 0.0, variance])
        self._log_wealth = tests.log_weights
        self._total, self._count = 0.0, 0
        self._places: list[int] = []
        self._scores: list[float] = []
        self.offsets: list[float] = []
        """p − p̄ of each sample that was bet on."""

        self.reach: list[float] = []
        """Bound, known before each sample was seen, on how far it could be from its mean, less its offset."""

        self._fit()

    def fitted_to(self, places: Places, scores: Floats) -> Floats:
        """(N,) What these samples alone lead to predict of each sample, as far above or below the mean of all."""
        gram, moment = self._prior
        seen = self._features[places]
        slopes = np.linalg.solve(gram + seen.T @ seen, moment + seen.T @ (scores - scores.mean()))
        return np.asarray(self._features @ slopes)

    def continue_from(self, places: Places, scores: Floats, log_wealth: Floats) -> None:
        """Take over from another test: the samples on which it bet, and the (T, J) wealth that it reached."""
        self.log_evidence(places, scores)
        self._log_wealth = log_wealth

    def log_evidence(self, places: Places, scores: Floats) -> Floats:
        """(B, T) log wealth of each test after each of the next samples; +inf where its hypothesis became impossible.

        `places` (B,) are the samples' places in the run's order, which only grow.
        """
        found = [np.empty((0, len(self._tests.edges)))]
        while len(scores):
            room = self._refit_at - self._count
            found.append(self._bet(places[:room], scores[:room]))
            places, scores = places[room:], scores[room:]
            if self._count == self._refit_at:
                self._learn()
                self._fit()
        return np.concatenate(found)

    def _bet(self, places: Places, scores: Floats) -> Floats:
        before = np.cumsum(np.concatenate([[self._total], scores]))
        left = (self._population - self._count - np.arange(len(scores), dtype=np.float64))[:, None]
        means = (self._tests.edges - before[:-1, None]) / left
        offsets = self._predicted[places] - self._predicted_left[places]
        # The lowest and the highest that score − mean − offset could become, whichever sample had come.
        rest = self._predicted_left[places, None]
        lowest, highest = -means - (self._predicted_most - rest), 1 - means - (self._predicted_least - rest)
        # Outside [0, 1] arithmetic has settled the test, and it bets no more.
        open_ = (means >= 0) & (means <= 1)
        floor = np.where(open_, -LARGEST_LOSS / np.maximum(highest, 1e-9), 0.0)
        ceiling = np.where(open_, LARGEST_LOSS / np.maximum(-lowest, 1e-9), 0.0)
        stakes = np.clip(self._stakes, floor[:, :, None], ceiling[:, :, None])
        surprise = scores[:, None] - means - offsets[:, None]
        steps = np.log1p(stakes * surprise[:, :, None])
        wealth = np.cumsum(np.concatenate([self._log_wealth[None], steps]), axis=0)[1:]
        self._log_wealth = wealth[-1]
        self._total, self._count = float(before[-1]), self._count + len(scores)
        self._places += places.tolist()
        self._scores += scores.tolist()
        self.offsets += offsets.tolist()
        self.reach += [1 + self._predicted_most - self._predicted_least] * len(scores)
        certain = certainties(self._tests, before[1:, None], left - 1)
        return np.where(certain == 0, log_mixture(wealth), certain)

    def _learn(self) -> None:
        """Take in what was seen since the last fit."""
        places, scores = np.array(self._places), np.array(self._scores)
        self._places, self._scores = [], []
        mean = (self._total + PRIOR_SAMPLES * self._expected) / (self._count + PRIOR_SAMPLES)
        residuals = scores - mean - self._predicted[places]
        self._residuals += [len(scores), *(np.sum(residuals**power) for power in (2, 3, 4))]
        seen = self._features[places]
        self._gram += seen.T @ seen
        self._moment += seen.T @ (scores - mean)

    def _fit(self) -> None:
        """Predictions by ridge regression on the features, and stakes, until the next fit."""
        slopes = np.linalg.solve(self._gram, self._moment)
        self._predicted = self._features @ slopes
        self._predicted_left = self._features_left @ slopes
        self._predicted_least, self._predicted_most = float(self._predicted.min()), float(self._predicted.max())
        weight, *sums = self._residuals
        gap = (self._tests.alternatives - self._tests.edges[:, None]) / max(self._population - self._count, 1)
        stakes = _growth_optimal(gap, *(each / weight for each in sums))
        # Against a total of so much or more a test may only bet on less, and the other way round.
        upward = self._tests.signs[:, None] > 0
        self._stakes = np.where(upward, np.minimum(stakes, 0.0), np.maximum(stakes, 0.0))
        self._refit_at = self._count + min(LAST_STEP, max(FIRST_STEP, self._count // 4))


def _growth_optimal(gap: Floats, second: float, third: float, fourth: float) -> Floats:
    """Stakes that make wealth grow fastest where surprises have mean `gap` and residuals have those moments.

    The maximum of E[log(1 + b·z)], expanded to the fourth power of b, by three of Newton's steps. To the second power
    alone it overbets on residuals that are mostly near zero and seldom near one, as differences of two runs are.
    """
    square = second + gap**2
    cube = third + 3 * gap * second + gap**3
    quad = fourth + 4 * gap * third + 6 * gap**2 * second + gap**4
    stakes = gap / square
    for _ in range(3):
        slope = gap - stakes * (square - stakes * (cube - stakes * quad))
        bend = -square + 2 * stakes * cube - 3 * stakes**2 * quad
        stakes = stakes - slope / np.minimum(bend, -0.3 * square)
    return np.asarray(stakes)
