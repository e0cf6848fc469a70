"""Stops a run as soon as every claim has its answer, through Inspect's `EarlyStopping`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from inspect_ai.dataset import Sample
from inspect_ai.log import EvalSample, EvalSpec
from inspect_ai.scorer import SampleScore
from inspect_ai.util import EarlyStop
from pydantic import JsonValue

from specs.judging.prefix import FinishedPrefix
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping_rule import StoppingRule
from specs.logs.run_scores import over_epochs
from specs.logs.scoring import ScoreValue, first_value

NAME = "reprofarm"
"""Of this manager of early stops, in the log."""


class StopWhenSure:
    """Feeds answers to the rule in the run's seeded order, whatever order they come in.

    Answers in flight when it stops are finished by Inspect, logged, and left out of account.
    """

    def __init__(self, rule: StoppingRule, sample_ids: Sequence[int | str], epochs: int, reducer: str) -> None:
        """Before the run.

        Args:
            rule: when to stop.
            sample_ids: the samples to be run, in the seeded order.
            epochs: how often each is answered.
            reducer: Inspect's name of what makes one score of several epochs.
        """
        self._decider = SequentialDecider(rule)
        self._prefix = FinishedPrefix(rule.population)
        self._places = {sample_id: place for place, sample_id in enumerate(sample_ids)}
        self._epochs = epochs
        self._reducer = reducer
        self._answers: dict[int | str, dict[int, ScoreValue | None]] = defaultdict(dict)

    @property
    def counted(self) -> int | None:
        """Samples of the order up to where every claim had its answer; None while one has none."""
        return self._decider.seen if self._decider.settled else None

    def answered(self, sample: EvalSample) -> None:
        """Take in the answer to one epoch of a sample; it is counted when all before it in the order are."""
        answers = self._answers[sample.id]
        answers[sample.epoch] = first_value(sample)
        if len(answers) == self._epochs:
            score = over_epochs(answers, self._epochs, self._reducer)
            self._decider.feed(self._prefix.add(self._places[sample.id], score))

    async def start_task(self, task: EvalSpec, samples: list[Sample], epochs: int) -> str:  # noqa: ARG002 - protocol
        """Inspect's first call."""
        return NAME

    async def schedule_sample(self, id: str | int, epoch: int) -> EarlyStop | None:  # noqa: A002 - protocol
        """Before each answer: whether it is needed."""
        return EarlyStop(id=id, epoch=epoch) if self._decider.settled else None

    async def complete_sample(self, id: str | int, epoch: int, scores: dict[str, SampleScore]) -> None:  # noqa: A002
        """Inspect's call after each answer that has a score; `answered` hears of the others too."""

    async def complete_task(self) -> dict[str, JsonValue]:
        """What the log says of the stop."""
        return {"counted": self.counted, "waiting": self._prefix.waiting}
