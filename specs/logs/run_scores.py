"""From the answers in a run's log to its score."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inspect_ai.log import EvalLog, EvalSample

from specs.logs.scoring import ScoreValue, answer_value, is_truncated, is_unparsed, reduced
from specs.logs.thoughts import thoughts_reader


@dataclass(frozen=True)
class RunScores:
    """What a run's answers scored. Scores are proportions."""

    by_scorer: dict[str, tuple[float | None, ...]]
    """For each scorer, in the spec's order, the score of each sample over its epochs; None where it has none."""

    cut_off_after: tuple[int, ...]
    """Tokens of each answer that was cut off at the token limit; 0 where the log does not say."""

    unparsed: int
    """Answers in which the first scorer found nothing of the form it looks for."""

    thoughts: int
    """Answers whose thoughts the first scorer may have taken for the answer, as nothing marks where those begin."""

    ignored: int
    """Other samples in the log: what is said above is not about them."""

    @property
    def truncated(self) -> int:
        """Answers cut off at the token limit."""
        return len(self.cut_off_after)

    def cut_by_context(self, max_tokens: int | None) -> int:
        """Those of them that had not reached `max_tokens`: vLLM lets none have more than its context holds."""
        return sum(max_tokens is None or 0 < tokens < max_tokens for tokens in self.cut_off_after)


def scorer_names(header: EvalLog) -> list[str]:
    """The names that the log gives to the scores of the spec's scorers, in the spec's order."""
    scores = header.results.scores if header.results is not None else []
    return list(dict.fromkeys(score.name for score in scores))


def run_scores(
    answers: Iterable[EvalSample],
    scorers: Sequence[str],
    sample_ids: Sequence[int | str],
    epochs: int,
    reducer: str,
    *,
    own: EvalLog | None,
) -> RunScores:
    """The scores of `sample_ids`, in their order, and counts of their answers. One without all its epochs has no score.

    Args:
        answers: every sample and epoch of the log, in any order.
        scorers: their names in the log; at least one.
        sample_ids: the samples that count; whatever else is in the log was in flight when the run stopped.
        epochs: how often each was to be answered.
        reducer: Inspect's name of what makes one score of several epochs.
        own: the log's header, of a run of a farm's: its answers are vLLM's. None of a log of somebody else's.
    """
    found: dict[str, dict[int | str, dict[int, ScoreValue | None]]] = {name: defaultdict(dict) for name in scorers}
    wanted, ignored = set(sample_ids), set()
    has_thoughts = thoughts_reader(own)
    cut_off_after: list[int] = []
    unparsed = thoughts = 0
    for answer in answers:
        if answer.id not in wanted:
            ignored.add(answer.id)
            continue
        for name in scorers:
            found[name][answer.id][answer.epoch] = answer_value(answer, name, own=own is not None)
        if is_truncated(answer):
            cut_off_after.append(answer.output.usage.output_tokens if answer.output.usage else 0)
        unparsed += is_unparsed((answer.scores or {}).get(scorers[0]))
        thoughts += has_thoughts(answer)
    by_scorer = {
        name: tuple(over_epochs(by_sample.get(each, {}), epochs, reducer) for each in sample_ids)
        for name, by_sample in found.items()
    }
    return RunScores(by_scorer, tuple(cut_off_after), unparsed, thoughts, len(ignored))


def over_epochs(values: Mapping[int, ScoreValue | None], epochs: int, reducer: str) -> float | None:
    """The score of a sample from those of its answers by epoch; None unless all epochs have one."""
    # In the order of epochs: of equally frequent ones, `mode` takes the first.
    return reduced([values[epoch] for epoch in sorted(values)], reducer) if len(values) == epochs else None


def mean_of(scores: Iterable[float | None]) -> float | None:
    """Mean of the scores that there are; None where there are none."""
    there = [score for score in scores if score is not None]
    # A mean of proportions can leave [0, 1] only by rounding.
    return min(max(statistics.fmean(there), 0.0), 1.0) if there else None


def standard_error_of(scores: Iterable[float | None]) -> float | None:
    """Sample standard deviation over √n of the scores that there are; one alone has none."""
    there = [score for score in scores if score is not None]
    return statistics.stdev(there) / math.sqrt(len(there)) if len(there) > 1 else None
