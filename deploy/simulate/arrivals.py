"""A day of submissions, from a seed.

What is taken from where:
- Over the day: hourly weights that follow the cycle of Hu et al., "Characterization and Prediction of Deep Learning
  Workloads in Large-Scale GPU Datacenters", 2021 (arXiv 2109.01313, section 3.1.1): a low at night, dips at midday and
  in the evening.
- Over models: Zipf's law. That few repos draw most of what happens on a hub of shared things is commonly seen; the
  exponent is assumed.
- Releases: now and then a family of new models appears at once, each with results on many tasks, and others submit
  results for it in the hours after. Rates and sizes are assumed.
- Who submits, and what is asked for with priority: assumed. What is asked for, and what the farm repeats by itself, is
  a re-verification, which a fresh run decides.
- What is claimed, and how much of it is false: deploy/simulate/claims.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from deploy.simulate.claims import FALSE, false, honest
from deploy.simulate.sizes import FAMILIES, TASKS, Family, SimulatedTask
from scheduler.admission.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY, PERIODIC_PRIORITY, REQUESTED_PRIORITY

HOUR = 3600.0
DAY = 24 * HOUR

HOURLY = (*[0.7] * 8, 0.95, *[1.2] * 3, 0.85, *[1.25] * 5, 0.85, 0.95, *[1.05] * 3, 0.9)
"""Weights of the hours of a day."""

MODELS = 20_000
"""That something may be submitted for."""

ZIPF = 0.9
RESULTS_RATE = 0.8
"""Of the results of a file beyond its first: exponentially distributed, rounded down; assumed."""

SCORES = 10
"""Different scores that models have: what a run takes is reckoned once for each, and for each claim on it."""

RELEASES = 6 / 20_000
"""Of model families, for each claim that comes in otherwise."""

RELEASED_TOGETHER = (1, 6)
"""Models of a family, from and to."""

FOLLOWING = 30
"""Submissions by others for a released model, on average."""

FOLLOWED_SECONDS = 4 * HOUR
"""In which most of those come: twice their mean."""

SHARES = ((REQUESTED_PRIORITY, 0.03), (AUTHOR_PRIORITY, 0.55), (COMMUNITY_PRIORITY, 0.32), (PERIODIC_PRIORITY, 0.10))
"""Of the claims, by priority."""


@dataclass(frozen=True)
class SimulatedModel:
    """A model repo."""

    name: str
    family: Family


@dataclass(frozen=True)
class Submission:
    """A claim that comes in."""

    at: float
    """Seconds since the day began."""

    model: SimulatedModel
    task: SimulatedTask
    priority: int
    claimed: float
    score: float
    """What all samples give: a proportion, as what is claimed."""

    is_false: bool = False

    @property
    def anew(self) -> bool:
        """Whether it asks for a fresh run."""
        return self.priority in (REQUESTED_PRIORITY, PERIODIC_PRIORITY)


@dataclass
class Day:
    """Makes a day."""

    seed: int
    claims: float
    """Submitted on it, on average, without those of releases."""

    false: float = FALSE
    """Part of them that are false."""

    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 - a simulation has to come out the same again

    def submissions(self) -> list[Submission]:
        """In the order in which they come."""
        models = [self._model(f"org/model{number}") for number in range(MODELS)]
        popularity = list(accumulate(1 / rank**ZIPF for rank in range(1, MODELS + 1)))
        found: list[Submission] = []
        for at in self._times():
            model = self._dice.choices(models, cum_weights=popularity)[0]
            found += self._results(at, model, 1 + int(self._dice.expovariate(RESULTS_RATE)))
        for number, at in enumerate(self._release_times()):
            found += self._release(at, number)
        return sorted((each for each in found if each.at < DAY), key=lambda each: each.at)

    def _times(self) -> Iterator[float]:
        """A Poisson process whose rate follows the hours, by thinning; one time is of a file of several results."""
        mean_results = 1 + 1 / math.expm1(RESULTS_RATE)
        peak = max(HOURLY) / (sum(HOURLY) / 24) * self.claims / mean_results / DAY
        at = 0.0
        while (at := at + self._dice.expovariate(peak)) < DAY:
            if self._dice.random() < HOURLY[int(at / HOUR)] / max(HOURLY):
                yield at

    def _release_times(self) -> Iterator[float]:
        rate = RELEASES * self.claims / DAY
        at = 0.0
        while (at := at + self._dice.expovariate(rate)) < DAY:
            yield at

    def _release(self, at: float, number: int) -> Iterator[Submission]:
        for place in range(self._dice.randint(*RELEASED_TOGETHER)):
            model = self._model(f"released/{number}-{place}")
            yield from self._results(at, model, len(TASKS), AUTHOR_PRIORITY)
            for _ in range(round(self._dice.expovariate(1 / FOLLOWING))):
                later = at + self._dice.expovariate(2 / FOLLOWED_SECONDS)
                yield from self._results(later, model, 1, COMMUNITY_PRIORITY)

    def _results(
        self, at: float, model: SimulatedModel, count: int, priority: int | None = None
    ) -> Iterator[Submission]:
        weights = [task.share for task in TASKS]
        # Of a file with fewer results than there are tasks, some may be on the same; further ones are left out.
        tasks = list(TASKS) if count >= len(TASKS) else self._dice.choices(TASKS, weights, k=count)
        if priority is None:
            priority = self._dice.choices([each for each, _ in SHARES], [share for _, share in SHARES])[0]
        for task in tasks:
            yield self._submission(at, model, task, priority)

    def _submission(self, at: float, model: SimulatedModel, task: SimulatedTask, priority: int) -> Submission:
        # Of a dice each: what is false, and how much, changes nothing else about the day.
        of_task = random.Random(f"{self.seed} {model.name} {task.name}")  # noqa: S311 - the same again
        of_claim = random.Random(f"{self.seed} {model.name} {task.name} {at}")  # noqa: S311
        score = round(SCORES * of_task.betavariate(2, 2)) / SCORES
        is_false = of_claim.random() < self.false
        claimed = false(score, of_claim) if is_false else honest(score, task.samples, of_claim)
        return Submission(at, model, task, priority, claimed, score, is_false)

    def _model(self, name: str) -> SimulatedModel:
        (family,) = self._dice.choices(FAMILIES, [each.share for each in FAMILIES])
        return SimulatedModel(name, family)
