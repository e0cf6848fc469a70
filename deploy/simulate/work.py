"""What is to be done on a simulated day: reproductions, and the batches in which they travel."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from deploy.simulate.arrivals import Submission
from deploy.simulate.fleet import ENGINE, Need
from deploy.simulate.judged import RUNS, judged
from deploy.simulate.sharing import Load, Span, spans
from deploy.simulate.sizes import SimulatedTask
from scheduler.dispatch.assignment import Turn, WaitingBatch
from scheduler.dispatch.batching import Queued
from scheduler.judging.stopping import MOST_CLAIMS
from specs.judging.verdict import Outcome

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
    task: SimulatedTask
    priority: int
    since: float
    need: Need
    number: int = 0
    """Among those of its task and model."""

    anew: bool = False
    """Whether a claim caused it that no earlier run may answer."""

    claims: list[Submission] = field(default_factory=list)
    """That it judges."""

    samples: float | None = None
    """That it takes, once it was sent out: from then on that is fixed."""

    every_sample: bool = False
    """Whether it asks all of them, whatever it finds."""

    began: float | None = None
    """On a loaded engine, at its latest attempt."""

    ended: bool = False
    failures: int = 0
    deaths: int = 0
    """Of workers, while the engine was started or worked for it."""

    came_to_nothing: bool = False

    @property
    def takes_claims(self) -> bool:
        """Whether more claims may share it, as scheduler/planning/joinable_runs.py has it."""
        is_open = (self.samples is None or self.every_sample) and not self.ended and not self.came_to_nothing
        return self.is_complete or is_open

    @property
    def is_complete(self) -> bool:
        """Whether it has every sample."""
        return self.ended and self.samples == self.task.samples

    @property
    def is_a_draw(self) -> bool:
        """Whether it lets whoever claims once more have a second and last one (scheduler/judging/history.py)."""
        return self.samples is not None and not self.is_complete and not self.came_to_nothing

    def send(self, *, every_sample: bool) -> None:
        """Fix what it takes: until its last claim has its answer."""
        draw = self._draw
        self.every_sample = every_sample = every_sample or len({each.claimed for each in self.claims}) > MOST_CLAIMS
        longest = max(judged(self.task, each.claimed, each.score).samples[draw] for each in self.claims)
        self.samples = self.task.samples if every_sample else longest

    def outcome(self, claim: Submission) -> Outcome:
        """What it says of one of its claims, now that it has ended."""
        found = judged(self.task, claim.claimed, claim.score)
        return found.by_all if self.is_complete else found.outcomes[self._draw]

    @property
    def _draw(self) -> int:
        return self._dice("answers").randrange(RUNS)

    def _dice(self, of: str) -> random.Random:
        # The same whenever and beside whomever it runs.
        return random.Random(f"{self.engine} {self.task.name} {self.since} {of}")  # noqa: S311

    @property
    def name(self) -> str:
        """Its own among those of its engine."""
        return f"{self.task.name}, {self.number}"

    @property
    def alone(self) -> bool:
        """Whether it runs beside no other: an attempt at it was lost (scheduler/dispatch/dispatcher.py, `SUSPECT`)."""
        return self.failures > 0

    @property
    def queued(self) -> Queued:
        """As the planner sees it."""
        return Queued(self.name, Turn(self.priority, time(self.since)), self.need.run_seconds)

    @property
    def load(self) -> Load:
        """What it really asks of its engine."""
        answers = self.need.answers if self.samples is None else self.samples * self.task.epochs
        return Load(answers, self.need.answer_seconds * self._dice("pace").lognormvariate(0, SPREAD))


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
    def waiting(self) -> WaitingBatch:
        """As the planner sees it in the common queue."""
        return WaitingBatch(min(run.priority for run in self.runs), time(min(run.since for run in self.runs)))

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
