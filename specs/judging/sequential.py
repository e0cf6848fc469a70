"""The sequential test: has a run seen enough of its samples? It stops by this rule, and is judged by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from specs.contract import Contract
from specs.judging import band
from specs.judging.band import Floats, Hypotheses, hypotheses, stack
from specs.judging.betting import Bettor, Places
from specs.judging.confidence import bounds_on_full_run
from specs.judging.counting import Counts
from specs.judging.stopping_rule import ClaimedScore, StoppingRule
from specs.judging.verdict import Interval
from specs.measurement import Proportion

SHOWN = 0.01
"""Part of alpha spent on the interval that is shown; the rest decides."""

CHUNK = 128
"""Samples looked at together when many are fed at once."""

Decision = Literal["verified", "mismatch", "undecided"]


class Finding(Contract):
    """What a run says of one claim so far."""

    decision: Decision
    samples: Annotated[int, Field(ge=0)]
    """Samples, scored or failed, after which it was decided; all that were seen where it is not."""

    interval: Interval
    """Bounds on the full run's score, with the decision: wholly inside the tolerance if verified, outside if not."""

    estimate: Proportion | None
    """The full run's score as far as it can be told, within the interval: the mean so far, less what was predicted of
    the samples seen, plus what is predicted of all (the difference estimator: Cochran, "Sampling Techniques", 1977,
    section 7.3). None where no sample is scored."""

    standard_error: Annotated[float, Field(ge=0)] | None
    """Of the mean so far, as the field reports it: by how much it would vary with other samples of the kind. What was
    predicted does not make it less. None for fewer than two scored samples."""


class SequentialDecider:
    """Takes a run's scores in its seeded random order and says when each claim has its answer.

    The order must be random and fixed after the claims: only the contiguous part of it that has finished may be fed
    (`specs.judging.prefix` holds back the rest). Looking after every sample costs no accuracy. A failed sample is
    passed over: the error bound is exact where none fails, and no answer is given while too many have. Once all samples
    were seen each answer is the full run's own, and more may have failed where a sample lacks perhaps one answer of
    several: whoever judges by it has to see what they could change. Before that, an answer once reached stands.
    """

    def __init__(self, rule: StoppingRule) -> None:
        self.rule = rule
        self.seen = 0
        """Samples taken in, scored or failed, up to where every claim had its answer."""

        # Claims on a popular model often say the same, and what is tested is what they say.
        self._claims = tuple(dict.fromkeys(rule.claims))
        self._values: Floats = np.empty(0)
        self._refuted_at = np.zeros(band.TESTS * len(self._claims), dtype=np.int64)
        self._decided: list[tuple[Decision, int] | None] = [None] * len(self._claims)

    @cached_property
    def _tests(self) -> Hypotheses:
        """Made when the first is asked, like what bets on them: where every sample is there, none is."""
        alpha = self.rule.alpha * (1 - SHOWN)
        return stack([hypotheses(each.claimed, each.tolerance, self.rule.population, alpha) for each in self._claims])

    @cached_property
    def _counts(self) -> Counts:
        return Counts(self._tests, self.rule.population)

    @cached_property
    def _bettor(self) -> Bettor | None:
        return self._new_bettor() if self.rule.predictors else None

    @property
    def settled(self) -> bool:
        """Every claim has its answer, or all samples were seen."""
        return self.seen == self.rule.population or None not in self._decided

    def feed(self, scores: Iterable[float | None]) -> bool:
        """Take the next samples' scores, None for a failed sample, and say whether to stop.

        Scores that come after all is settled change nothing.

        Raises:
            ValueError: more scores than samples, or a score outside [0, 1].
        """
        values = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
        if not self.settled and self.seen + len(values) > self.rule.population:
            raise ValueError(f"more scores than the {self.rule.population} samples of the population")
        if not ((values >= 0) & (values <= 1) | np.isnan(values)).all():
            raise ValueError("a score is not between 0 and 1")
        while len(values) and not self.settled:
            self._take(values[:CHUNK])
            values = values[CHUNK:]
        return self.settled

    def take_all(self, scores: Sequence[float | None]) -> None:
        """Take every sample's score at once. They decide by themselves, so no test is asked: far quicker than `feed`.

        Raises:
            ValueError: not every sample's, or some were taken before.
        """
        if self.seen or len(scores) != self.rule.population:
            raise ValueError(f"{len(scores)} scores, which are not those of all {self.rule.population} samples")
        self._values = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
        self._decided = [self._full_run(claim) for claim in self._claims]
        self.seen = len(self._values)

    def findings(self) -> tuple[Finding, ...]:
        """What can be said of each claim now, in the order of the rule's."""
        found = {claim: self._finding(index) for index, claim in enumerate(self._claims)}
        return tuple(found[claim] for claim in self.rule.claims)

    def _take(self, values: Floats) -> None:
        scored = ~np.isnan(values)
        places = self.seen + np.flatnonzero(scored)
        refutes = self._log_evidence(places, values[scored]) >= self._tests.thresholds
        for test in np.flatnonzero((self._refuted_at == 0) & refutes.any(axis=0)):
            self._refuted_at[test] = places[refutes[:, test].argmax()] + 1
        self._values = np.concatenate([self._values, values])
        self._decide(self.seen + 1)
        answered_at = [decided[1] for decided in self._decided if decided]
        if len(answered_at) == len(self._decided) and max(answered_at) < self.rule.population:
            self._values = self._values[: max(answered_at)]
        elif len(self._values) == self.rule.population:
            # Whatever the tests took for refuted on the way: that errs once in a while, and all there is does not.
            self._decided = [self._full_run(claim) for claim in self._claims]
        self.seen = len(self._values)

    def _log_evidence(self, places: Places, scores: Floats) -> Floats:
        if self._bettor is not None:
            return self._bettor.log_evidence(places, scores)
        fractions = np.flatnonzero((scores != 0) & (scores != 1))
        counted = int(fractions[0]) if len(fractions) else len(scores)
        past = self._values[~np.isnan(self._values)]
        drawn = len(past) + np.arange(counted + 1.0)[:, None]
        right = past.sum() + np.concatenate([[0.0], np.cumsum(scores[:counted])])[:, None]
        found = self._counts.log_evidence(right[1:], drawn[1:] - right[1:])
        if counted == len(scores):
            return found
        # Not right or wrong after all: the bets go on with the wealth that was reached.
        self._bettor = self._new_bettor()
        before = np.concatenate([np.flatnonzero(~np.isnan(self._values)), places[:counted]])
        reached = self._counts.log_wealth(right[-1:], drawn[-1:] - right[-1:])[0]
        self._bettor.continue_from(before, np.concatenate([past, scores[:counted]]), reached)
        return np.concatenate([found, self._bettor.log_evidence(places[counted:], scores[counted:])])

    def _decide(self, first: int) -> None:
        """Decide what can be decided at each sample from the `first` on that was not looked at yet."""
        failed = np.cumsum(np.isnan(self._values))[first - 1 :]
        seen = np.arange(first, len(self._values) + 1)
        enough = seen - failed >= self.rule.minimum_samples
        allowed = enough & (failed <= self.rule.maximum_failed_fraction * seen)
        for index, decided in enumerate(self._decided):
            reached = None if decided else self._reached(index)
            if reached is not None:
                late_enough = np.flatnonzero(allowed & (seen >= reached[1]))
                self._decided[index] = (reached[0], int(seen[late_enough[0]])) if len(late_enough) else None

    def _reached(self, index: int) -> tuple[Decision, int] | None:
        """The answer whose tests have all refuted, and after how many samples."""
        refuted_at = self._of_claim(self._refuted_at, index)
        ways: dict[Decision, tuple[tuple[int, ...], ...]]
        ways = {"verified": band.VERIFIED_BY, "mismatch": band.MISMATCH_BY}
        answers = [
            (decision, int(refuted_at[list(tests)].max()))
            for decision, alternatives in ways.items()
            for tests in alternatives
            if refuted_at[list(tests)].all()
        ]
        return min(answers, key=lambda answer: answer[1], default=None)

    def _full_run(self, claim: ClaimedScore) -> tuple[Decision, int] | None:
        scores = self._values[~np.isnan(self._values)]
        failed = len(self._values) - len(scores)
        most = self.rule.maximum_failed_fraction * self.rule.answers_averaged
        if not len(scores) or failed > most * len(self._values):
            return None
        return full_run_decision(float(scores.mean()), claim.claimed, claim.tolerance), len(self._values)

    def _finding(self, index: int) -> Finding:
        decision, samples = self._decided[index] or ("undecided", self.seen)
        values = self._values[:samples]
        scores = values[~np.isnan(values)]
        if samples == self.rule.population and len(scores):
            mean = min(1.0, float(scores.mean()))
            interval = Interval(low=mean, high=mean)
            return _told(decision, samples, interval, scores, np.zeros(self.rule.population), np.arange(len(scores)))
        places = np.flatnonzero(~np.isnan(values))
        offsets, reach, predictions = np.zeros(len(scores)), np.ones(len(scores)), np.zeros(self.rule.population)
        if self._bettor is not None and len(scores):
            offsets = np.array(self._bettor.offsets[: len(scores)])
            reach = np.array(self._bettor.reach[: len(scores)])
            predictions = self._bettor.fitted_to(places, scores)
        interval = bounds_on_full_run(scores, self.rule.population, SHOWN * self.rule.alpha, offsets, reach)
        refuted_at = self._of_claim(self._refuted_at, index)
        refuted = (refuted_at > 0) & (refuted_at <= samples)
        cut = _cut(interval, self._claims[index], refuted)
        return _told(decision, samples, cut, scores, predictions, places)

    def _new_bettor(self) -> Bettor:
        rule = self.rule
        features = np.array([each.values for each in rule.predictors]).reshape(len(rule.predictors), rule.population)
        slopes = np.array([each.slope for each in rule.predictors])
        return Bettor(self._tests, float(np.mean([each.claimed for each in rule.claims])), features.T, slopes)

    @staticmethod
    def _of_claim(values: NDArray[np.int64], index: int) -> NDArray[np.int64]:
        return values[index * band.TESTS : (index + 1) * band.TESTS]


def full_run_decision(score: float, claimed: float, tolerance: float) -> Decision:
    """The rule where all samples were scored: |score − claimed| ≤ tolerance."""
    return "verified" if abs(score - claimed) <= tolerance + band.EDGE else "mismatch"


def _told(
    decision: Decision, samples: int, interval: Interval, scores: Floats, predictions: Floats, places: Places
) -> Finding:
    estimate = float((scores - predictions[places]).mean() + predictions.mean()) if len(scores) else None
    return Finding(
        decision=decision,
        samples=samples,
        interval=interval,
        estimate=None if estimate is None else min(max(estimate, interval.low), interval.high),
        standard_error=float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else None,
    )


def _cut(interval: Interval, claim: ClaimedScore, refuted: NDArray[np.bool_]) -> Interval:
    """The interval less what the claim's tests have refuted."""
    low, high = interval.low, interval.high
    bottom, top = claim.claimed - claim.tolerance, claim.claimed + claim.tolerance
    if refuted[band.HIGH]:
        high = min(high, top)
    if refuted[band.LOW]:
        low = max(low, bottom)
    if refuted[list(band.MISMATCH_BY[0])].all():
        high = min(high, bottom)
    if refuted[list(band.MISMATCH_BY[1])].all():
        low = max(low, top)
    # Nothing is left where the tests contradict the shown interval, at most with probability alpha: then their edge.
    return Interval(low=min(low, high), high=high) if refuted[band.HIGH] else Interval(low=low, high=max(low, high))
