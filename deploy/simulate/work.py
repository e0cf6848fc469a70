"""What is to be done on a simulated day: reproductions, and the batches in which they travel."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from deploy.simulate.fleet import ENGINE, Need
from deploy.simulate.sharing import Load, Span, spans
from scheduler.dispatch.batching import Turn, Waiting
from scheduler.dispatch.filling import Queued

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
SPREAD = 0.3
"""Standard deviation of the logarithm of how long a run takes, against what was reckoned; assumed."""


def time(seconds: float) -> datetime:
    """Of the day, as the planner has it."""
    return BEGINNING + timedelta(seconds=seconds)


@dataclass(eq=False)
class Run:
    """A reproduction."""

    engine: str
    task: str
    priority: int
    since: float
    need: Need
    waits: list[tuple[int, float]]
    """Priority and arrival of each claim that it judges."""

    began: float | None = None
    """On a loaded engine, at its latest attempt."""

    ended: bool = False
    failures: int = 0
    deaths: int = 0
    """Of workers, while the engine was started or worked for it."""

    @property
    def joinable(self) -> bool:
        """Whether more claims may share it: it was never sent out."""
        return not self.failures

    @property
    def name(self) -> str:
        """Its own among those of its engine that are queued."""
        return self.task if self.joinable else f"{self.task}, of {self.since}"

    @property
    def alone(self) -> bool:
        """Whether it runs beside no other: an attempt at it was lost (scheduler/dispatch/dispatching.py, `SUSPECT`)."""
        return self.failures > 0

    @property
    def queued(self) -> Queued:
        """As the planner sees it."""
        return Queued(self.name, Turn(self.priority, time(self.since)), self.need.run_seconds)

    @property
    def load(self) -> Load:
        """What it really asks of its engine: the same whenever and beside whomever it runs."""
        dice = random.Random(f"{self.engine} {self.task} {self.since}")  # noqa: S311 - it has to come out the same again
        return Load(self.need.answers, self.need.answer_seconds * dice.lognormvariate(0, SPREAD))


@dataclass(frozen=True)
class Batch:
    """Runs of one engine on their way to a worker."""

    runs: tuple[Run, ...]

    @property
    def engine(self) -> str:
        """That they need."""
        return self.runs[0].engine

    @property
    def need(self) -> Need:
        """What its engine takes to come up."""
        return self.runs[0].need

    @property
    def waiting(self) -> Waiting:
        """As the planner sees it in the common queue."""
        return Waiting(min(run.priority for run in self.runs), time(min(run.since for run in self.runs)))

    @property
    def expected_seconds(self) -> float:
        """That the farm takes it to need, not knowing whether its engine is there."""
        return self.need.load_seconds + sum(run.need.run_seconds for run in self.runs)

    def spans(self, side_by_side: int) -> list[Span]:
        """When each run begins and ends once the engine is up, in their order."""
        found: list[Span] = []
        at = 0.0
        for alone, runs in groupby(self.runs, lambda run: run.alone):
            part = spans([run.load for run in runs], 1 if alone else side_by_side, ENGINE.concurrency)
            found += [Span(at + each.began, at + each.ended) for each in part]
            at = max(each.ended for each in found)
        return found
