"""Replays verification on a table of real per-question results, with the code that the farm runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow
import pyarrow.parquet
from pydantic import Field

from specs.contract import Contract
from specs.errors import SubmissionError
from specs.judging.band import Floats
from specs.judging.history import from_earlier_runs, from_same_claim
from specs.judging.sequential import Decision, SequentialDecider, full_run_decision
from specs.judging.stopping_rule import ClaimedScore, Predictor, StoppingRule
from specs.measurement import SampleId, Scores
from specs.policy.verification import VerificationRules

Mode = Literal["plain", "history", "paired"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Replayed(Contract):
    """What became of all replays of one mode and shift."""

    mode: Mode
    shift: float
    """By how much the claims exceed the true scores, a proportion."""

    replays: int
    mean_fraction: Fraction
    """Of the samples, used until the verdict."""

    p95_fraction: Fraction
    verified: int
    mismatch: int
    inconclusive: int
    disagreements: int
    """Verdicts that differ from the full run's."""


@dataclass(frozen=True)
class ResultTable:
    """Scores of models on the same questions; NaN where a model has none."""

    questions: tuple[SampleId, ...]
    models: dict[str, Floats]

    def runs_of_others(self, model: str) -> list[Scores]:
        """What the table knows of every other model, as earlier runs."""
        return [
            dict(zip(self.questions, _missing_is_none(scores), strict=True))
            for name, scores in self.models.items()
            if name != model
        ]


@dataclass(frozen=True)
class Settings:
    """What is replayed."""

    tolerance: float
    alpha: float
    shifts: tuple[float, ...]
    seeds: int
    history: ResultTable | None = None
    paired_noise: float | None = None
    """Part of a linked log's answers that differ from ours; None replays no linked log."""

    rules: VerificationRules = field(default_factory=VerificationRules)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What there is material for."""
        found: list[Mode] = ["plain"]
        if self.history is not None:
            found.append("history")
        if self.paired_noise is not None:
            found.append("paired")
        return tuple(found)


def read_results(path: Path) -> ResultTable:
    """A table of per-question results.

    Raises:
        SubmissionError: not such a table.
    """
    try:
        columns: dict[str, list[Any]] = pyarrow.parquet.read_table(path).to_pydict()
    except (OSError, pyarrow.ArrowException) as error:
        raise SubmissionError(f"{path}: not readable as Parquet: {error}") from error
    names = list(columns)
    questions = tuple(columns[names[0]]) if names else ()
    if len(names) < 2 or not questions:
        raise SubmissionError(f"{path}: expected a column of question ids, a column for each model, and rows")
    if len(set(questions)) != len(questions) or not all(isinstance(each, int | str) for each in questions):
        raise SubmissionError(f"{path}: the first column, {names[0]!r}, must hold unique question ids")
    return ResultTable(questions=questions, models={name: _scores(path, name, columns[name]) for name in names[1:]})


def replay(table: ResultTable, settings: Settings) -> Iterator[Replayed]:
    """Judge each model's claim at each shift in each mode, as often as there are seeds."""
    others = {name: settings.history.runs_of_others(name) if settings.history else [] for name in table.models}
    for mode in settings.modes:
        for shift in settings.shifts:
            runs = [
                _Run(table, name, seed, shift, settings).judge(mode, others[name])
                for name in table.models
                for seed in range(settings.seeds)
            ]
            yield _summary(mode, shift, runs)


@dataclass(frozen=True)
class _Judged:
    fraction: float
    decision: Decision
    full: Decision


class _Run:
    """One model's samples in one seeded order, with a claim."""

    def __init__(self, table: ResultTable, model: str, seed: int, shift: float, settings: Settings) -> None:
        self._settings = settings
        # The same orders in every mode and at every shift, so that these are compared on equal terms.
        self._rng = np.random.default_rng([seed, list(table.models).index(model)])
        order = self._rng.permutation(len(table.questions))
        self._order = [table.questions[place] for place in order]
        self._scores = table.models[model][order]
        self._truth = float(np.nanmean(self._scores))
        self._claimed = min(1.0, max(0.0, self._truth + shift))

    def judge(self, mode: Mode, others: Sequence[Scores]) -> _Judged:
        settings = self._settings
        rule = StoppingRule(
            claims=(ClaimedScore(claimed=self._claimed, tolerance=settings.tolerance),),
            population=len(self._scores),
            alpha=settings.alpha,
            minimum_samples=settings.rules.minimum_samples,
            maximum_failed_fraction=settings.rules.maximum_failed_fraction,
            predictors=self._predictors(mode, others),
        )
        decider = SequentialDecider(rule)
        decider.feed(_missing_is_none(self._scores))
        failed = float(np.isnan(self._scores).mean())
        full: Decision = full_run_decision(self._truth, self._claimed, settings.tolerance)
        return _Judged(
            fraction=decider.seen / len(self._scores),
            decision=decider.findings()[0].decision,
            full=full if failed <= settings.rules.maximum_failed_fraction else "undecided",
        )

    def _predictors(self, mode: Mode, others: Sequence[Scores]) -> tuple[Predictor, ...]:
        if mode == "plain":
            return ()
        if mode == "history":
            return from_earlier_runs(self._order, others)
        return from_same_claim(self._order, dict(zip(self._order, self._linked_log(), strict=True)), others)

    def _linked_log(self) -> list[float]:
        """The scores of a log whose mean is the claim, as the farm demands, and of which so many differ from ours.

        As many answers turn right as turn wrong, and then as many more as the claim is off.
        """
        log = np.where(np.nan_to_num(self._scores) >= 0.5, 1.0, 0.0)
        turned = round((self._settings.paired_noise or 0.0) * len(log) / 2)
        excess = round(self._claimed * len(log)) - int(log.sum())
        right, wrong = np.flatnonzero(log == 1), np.flatnonzero(log == 0)
        for places, count, becomes in ((right, turned + max(0, -excess), 0.0), (wrong, turned + max(0, excess), 1.0)):
            log[self._rng.choice(places, min(count, len(places)), replace=False)] = becomes
        return [float(score) for score in log]


def _scores(path: Path, name: str, values: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        scores = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SubmissionError(f"{path}: column {name!r} does not hold scores: {error}") from error
    scored = scores[~np.isnan(scores)]
    if not len(scored) or not np.isin(scored, (0.0, 1.0)).all():
        raise SubmissionError(f"{path}: column {name!r} must hold 0, 1 or nothing, and not nothing alone")
    return scores


def _missing_is_none(scores: Floats) -> list[float | None]:
    return [None if np.isnan(score) else score for score in scores.tolist()]


def _summary(mode: Mode, shift: float, runs: Sequence[_Judged]) -> Replayed:
    fractions = np.array([run.fraction for run in runs])
    decisions = [run.decision for run in runs]
    return Replayed(
        mode=mode,
        shift=shift,
        replays=len(runs),
        mean_fraction=float(fractions.mean()),
        p95_fraction=float(np.quantile(fractions, 0.95)),
        verified=decisions.count("verified"),
        mismatch=decisions.count("mismatch"),
        inconclusive=decisions.count("undecided"),
        disagreements=sum(run.decision != run.full for run in runs),
    )
