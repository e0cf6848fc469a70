"""What earlier runs of the same samples say about this one's: predictors for the stopping rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specs.judging.band import Floats
from specs.judging.stopping_rule import Predictor
from specs.measurement import SampleId, Scores

# Each constant: docs/decisions/0007-how-bets-are-sized.md. None of them can make a verdict wrong.
LARGEST_COLUMNS = 12
"""Earlier runs that get a slope of their own; all of them count in the difficulty."""

SHRINKAGE = 1.0
"""Runs' worth of doubt about a sample's difficulty: it draws the rates of seldom seen samples to the middle."""

SMALLEST_OVERLAP = 50
"""An earlier run with fewer of the samples scored says too little."""

MIDDLE = 0.5


def from_earlier_runs(order: Sequence[SampleId], runs: Sequence[Scores]) -> tuple[Predictor, ...]:
    """Predictors from earlier runs of other models, each of which may have scored any part of the samples.

    The first is each sample's ease: by how much the runs that saw it did better on it than on all they saw. The second
    is its square: a weak model gains most among the easy samples, a strong one among the hard. The others are single
    runs, those with most samples first: models of one family know the same things. Empty where no run has scored enough
    of the samples.
    """
    columns = _centred(order, runs)
    if not columns.shape[1]:
        return ()
    seen = np.isfinite(columns).sum(axis=1)
    columns = np.nan_to_num(columns)
    # Differences of proportions, all of these; the middle takes them, and what stands for "not seen", into [0, 1].
    ease = columns.sum(axis=1) / (seen + SHRINKAGE)
    halved = np.clip(MIDDLE + np.column_stack([ease, columns[:, :LARGEST_COLUMNS]]) / 2, 0, 1).T
    # A slope of 2 undoes the halving.
    return (
        _predictor(halved[0], 2.0),
        _predictor(np.clip(ease**2, 0, 1), 0.0),
        *(_predictor(column, 0.0) for column in halved[1:]),
    )


def from_same_claim(order: Sequence[SampleId], run: Scores, others: Sequence[Scores] = ()) -> tuple[Predictor, ...]:
    """Predictors from a run that is said to be of the very same model, and from earlier runs of `others`.

    Its scores are expected to be ours but for a few. Where they are made up, the bettor finds out as it goes.

    Raises:
        ValueError: the run lacks the score of a sample.
    """
    scores = [run.get(sample) for sample in order]
    if any(score is None for score in scores):
        raise ValueError("a run to pair with has a score for every sample")
    pair = Predictor(values=tuple(float(score or 0.0) for score in scores), slope=1.0)
    return (pair, *(each.model_copy(update={"slope": 0.0}) for each in from_earlier_runs(order, others)))


def _predictor(values: Floats, slope: float) -> Predictor:
    return Predictor(values=tuple(values.tolist()), slope=slope)


def _centred(order: Sequence[SampleId], runs: Sequence[Scores]) -> Floats:
    """(N, R) scores less their run's mean, NaN where there is none; runs with most scores first."""
    table = [[np.nan if (score := run.get(sample)) is None else score for sample in order] for run in runs]
    columns = np.array(table, dtype=np.float64).reshape(len(table), len(order)).T
    counts = np.isfinite(columns).sum(axis=0)
    best = np.argsort(-counts, kind="stable")
    columns = columns[:, best[counts[best] >= min(SMALLEST_OVERLAP, len(order))]]
    return columns - np.nanmean(columns, axis=0) if columns.shape[1] else columns
