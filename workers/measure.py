"""An Inspect `.eval` log as a measurement."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log, read_eval_log_samples

from specs.measurement import Circumstances, Measurement
from specs.scoring import answer_score, is_truncated, is_unparsed, reduced
from workers.errors import RunError

# Long, and nothing in them is measured.
_NOT_READ = {"events", "store", "attachments", "messages"}


@dataclass(frozen=True)
class Plan:
    """What was to be run."""

    sample_ids: tuple[int | str, ...]
    """In the seeded order; those that were to be run."""

    population: int
    epochs: int
    reducer: str
    model: str
    """Inspect's name of the evaluated model."""


@dataclass
class _Found:
    scores: dict[str, dict[int | str, list[float | None]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    """By scorer and sample, one for each epoch."""

    truncated: int = 0
    unparsed: int = 0


def measure(log: Path, plan: Plan, circumstances: Circumstances) -> Measurement:
    """The measurement in a finished log.

    Raises:
        RunError: the log is not that of a successful run.
    """
    header = read_eval_log(str(log), header_only=True)
    if header.status != "success":
        reason = header.error.message if header.error is not None else "no reason given"
        raise RunError(f"the run ended with status {header.status}: {reason}")
    scorers = _scorers(header)
    found = _read_samples(log, scorers)
    by_scorer = {name: _sample_scores(found, name, plan) for name in scorers}
    sample_scores = by_scorer[scorers[0]]
    scored = [score for score in sample_scores if score is not None]
    usage = header.stats.model_usage.get(plan.model)
    return Measurement(
        scorer=scorers[0],
        score=_mean(scored),
        standard_error=_standard_error(scored),
        population=plan.population,
        sample_ids=plan.sample_ids,
        sample_scores=tuple(sample_scores),
        truncated=found.truncated,
        unparsed=found.unparsed,
        other_scorers={name: _mean([s for s in by_scorer[name] if s is not None]) for name in scorers[1:]},
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        started_at=_time(header.stats.started_at),
        ended_at=_time(header.stats.completed_at),
        circumstances=circumstances,
    )


def sample_errors(log: Path) -> list[str]:
    """What went wrong in the samples that failed, in their order in the log."""
    samples = read_eval_log_samples(str(log), all_samples_required=False, exclude_fields=_NOT_READ)
    return [sample.error.message for sample in samples if sample.error is not None]


def _scorers(header: EvalLog) -> list[str]:
    """The names that the log gives to the scores of the spec's scorers, in the spec's order."""
    scores = header.results.scores if header.results is not None else []
    names = list(dict.fromkeys(score.name for score in scores))
    if not names:
        raise RunError("the log has no scorer")
    return names


def _read_samples(log: Path, scorers: Sequence[str]) -> _Found:
    found = _Found()
    for sample in read_eval_log_samples(str(log), all_samples_required=False, exclude_fields=_NOT_READ):
        for name in scorers:
            found.scores[name][sample.id].append(answer_score(sample, name))
        found.truncated += is_truncated(sample)
        found.unparsed += is_unparsed((sample.scores or {}).get(scorers[0]))
    return found


def _sample_scores(found: _Found, scorer: str, plan: Plan) -> list[float | None]:
    by_sample = found.scores[scorer]
    return [
        reduced(scores, plan.reducer) if len(scores := by_sample.get(each, [])) == plan.epochs else None
        for each in plan.sample_ids
    ]


def _mean(scores: Sequence[float]) -> float | None:
    # A mean of proportions can leave [0, 1] only by rounding.
    return min(max(statistics.fmean(scores), 0.0), 1.0) if scores else None


def _standard_error(scores: Sequence[float]) -> float | None:
    """Sample standard deviation over √n; one sample has none."""
    return statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else None


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise RunError(f"the log has a time without its zone: {text}")
    return time
