"""The day itself, event by event (SimPy): submissions come in, the farm's planner says what goes where, workers run it.

Which batch goes to which worker is `scheduler.batching.place`, as in the farm; where a model fits is
`scheduler.placement.place`; how long it takes is `specs.cost` on the samples of `specs.forecast`, times a random
factor. A claim on a task of a model that waits in the queue shares its run. Left out: failures, fetching, engines that
sleep, tasks side by side in one engine. What is held against the planner is what it decides.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nsmallest
from itertools import groupby
from typing import Any, TypeAlias

import simpy

from deploy.simulate.arrivals import DAY, Submission
from deploy.simulate.fleet import Need, Pool, need_of
from scheduler.batching import COMMON_AHEAD, OWN_AHEAD, Group, Placement, Seat, Waiting, place
from specs.policy import RunRules

Process: TypeAlias = Generator[simpy.Event, Any, None]
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
SPREAD = 0.3
"""Standard deviation of the logarithm of how long a run takes, against what was reckoned; assumed."""


@dataclass
class Run:
    """A reproduction."""

    engine: str
    task: str
    priority: int
    since: float
    need: Need
    waits: list[tuple[int, float]]
    """Priority and arrival of each claim that it judges."""


@dataclass(frozen=True)
class Batch:
    """Runs of one engine on their way to a worker."""

    runs: tuple[Run, ...]

    @property
    def waiting(self) -> Waiting:
        """As the planner sees it in the common queue."""
        return Waiting(min(run.priority for run in self.runs), _time(min(run.since for run in self.runs)))


@dataclass
class Worker:
    """A worker of a pool."""

    name: str
    own: deque[Batch] = field(default_factory=deque)
    loaded: str | None = None
    asleep: simpy.Event | None = None
    """That it waits for while it has nothing to do."""

    @property
    def is_idle(self) -> bool:
        """It runs nothing, and nothing waits for it."""
        return self.asleep is not None and not self.own

    @property
    def has_room(self) -> bool:
        """As many batches as may wait for one worker do not wait for it yet."""
        return len(self.own) < OWN_AHEAD


@dataclass
class PoolState:
    """A pool while the day goes on."""

    pool: Pool
    workers: dict[str, Worker]
    queued: dict[str, dict[str, Run]] = field(default_factory=lambda: defaultdict(dict))
    """By engine and task: one run judges all claims on a task."""

    by_engine: dict[str, list[Worker]] = field(default_factory=lambda: defaultdict(list))
    """Workers that have it loaded."""

    idle: dict[str, Worker] = field(default_factory=dict)
    common: deque[Batch] = field(default_factory=deque)
    starting: dict[str, Batch] = field(default_factory=dict)
    """By worker: taken, and its engine is not up yet."""

    loading_seconds: float = 0.0
    """Of workers, in which their engines were loaded."""

    running_seconds: float = 0.0
    loads: int = 0


@dataclass
class Outcome:
    """What the day came to."""

    waited: dict[int, list[float]]
    """Seconds from each claim's arrival to when its batch begins on a loaded engine, by priority; until the end of the
    day, where that had not come."""

    took: dict[int, list[float]]
    """Seconds from each claim's arrival to its verdict, by priority; only of those that have one."""

    verdicts: int
    runs: int
    refused: int
    """Claims whose model fits nowhere."""

    pools: list[PoolState]
    seconds: float = DAY


class Simulation:
    """One day of one fleet."""

    def __init__(self, fleet: tuple[Pool, ...], rules: RunRules, *, affinity: bool, seed: int) -> None:
        self._rules = rules
        self._affinity = affinity
        self._dice = random.Random(seed)  # noqa: S311 - a simulation has to come out the same again
        self._clock = simpy.Environment()
        self._pools = {
            pool.rules.name: PoolState(
                pool,
                {name: Worker(name) for name in (f"{pool.rules.name}-{number}" for number in range(pool.workers))},
            )
            for pool in fleet
        }
        self._outcome = Outcome(defaultdict(list), defaultdict(list), 0, 0, 0, list(self._pools.values()))

    def day(self, submissions: list[Submission]) -> Outcome:
        """Let it go by."""
        self._clock.process(self._arrivals(submissions))
        for state in self._pools.values():
            for worker in state.workers.values():
                self._clock.process(self._work(state, worker))
        self._clock.run(until=DAY)
        for state in self._pools.values():
            left = [run for by_task in state.queued.values() for run in by_task.values()]
            left += [run for batch in (*state.common, *state.starting.values()) for run in batch.runs]
            left += [run for worker in state.workers.values() for batch in worker.own for run in batch.runs]
            for run in left:
                self._note_waits(run)
        return self._outcome

    def _arrivals(self, submissions: list[Submission]) -> Process:
        for at, together in groupby(submissions, key=lambda each: each.at):
            yield self._clock.timeout(at - self._clock.now)
            # The entries of one file are planned in one go, and so are sent out together.
            for state in {state.pool: state for each in together if (state := self._queue(each))}.values():
                self._dispatch(state)

    def _queue(self, submission: Submission) -> PoolState | None:
        """Plan a claim; the pool that its run waits for, if it fits any."""
        need = need_of(submission)
        if need is None:
            self._outcome.refused += 1
            return None
        state, engine, at = self._pools[need.pool], submission.model.name, self._clock.now
        queued = state.queued[engine]
        run = queued.get(submission.task.name)
        if run is None:
            run = Run(engine, submission.task.name, submission.priority, at, need, [])
            queued[submission.task.name] = run
        run.priority = min(run.priority, submission.priority)
        run.waits.append((submission.priority, at))
        return state

    def _dispatch(self, state: PoolState) -> None:
        """Fill the queues of a pool, as the farm does."""
        while state.queued:
            seats = self._seats(state)
            if not seats and len(state.common) >= COMMON_AHEAD:
                return
            waiting = [batch.waiting for batch in state.common]
            placed = place(self._groups(state), seats, waiting, _time(self._clock.now), self._rules)
            if not placed:
                return
            for placement in placed:
                self._send(state, placement)

    def _seats(self, state: PoolState) -> list[Seat]:
        """The workers that may get anything: to show the planner others too would change nothing but its pace."""
        if not self._affinity:
            idle = nsmallest(len(state.queued) + COMMON_AHEAD, (each.name for each in state.idle.values()))
            return [Seat(name, idle=True, ahead=0, loaded=None) for name in idle]
        warm = [each for engine in state.queued for each in state.by_engine.get(engine, ()) if each.has_room]
        cold = (each for each in state.idle.values() if each.loaded not in state.queued)
        some = nsmallest(len(state.queued) + COMMON_AHEAD, cold, key=lambda each: (each.loaded is not None, each.name))
        return [Seat(each.name, idle=each.is_idle, ahead=0, loaded=each.loaded) for each in (*warm, *some)]

    @staticmethod
    def _groups(state: PoolState) -> Iterator[Group]:
        for engine, by_task in state.queued.items():
            classes: dict[int, list[float]] = defaultdict(list)
            for run in by_task.values():
                classes[run.priority].append(run.since)
            for priority, since in classes.items():
                yield Group(engine, priority, _time(min(since)), len(since))

    def _send(self, state: PoolState, placement: Placement) -> None:
        queued = state.queued[placement.engine]
        chosen = sorted(queued.values(), key=lambda run: (run.priority, run.since))[: placement.count]
        for run in chosen:
            del queued[run.task]
        if not queued:
            del state.queued[placement.engine]
        batch = Batch(tuple(chosen))
        if placement.seat is None:
            state.common.append(batch)
            taker = next(iter(state.idle.values()), None)
        else:
            taker = state.workers[placement.seat]
            taker.own.append(batch)
        if taker is not None and taker.asleep is not None and not taker.asleep.triggered:
            del state.idle[taker.name]
            taker.asleep.succeed()

    def _work(self, state: PoolState, worker: Worker) -> Process:
        while True:
            while not worker.own and not state.common:
                worker.asleep = self._clock.event()
                state.idle[worker.name] = worker
                yield worker.asleep
                worker.asleep = None
            batch = worker.own.popleft() if worker.own else state.common.popleft()
            self._dispatch(state)
            yield from self._run(state, worker, batch)

    def _run(self, state: PoolState, worker: Worker, batch: Batch) -> Process:
        first = batch.runs[0]
        state.starting[worker.name] = batch
        if worker.loaded != first.engine:
            if worker.loaded is not None:
                state.by_engine[worker.loaded].remove(worker)
            worker.loaded = first.engine
            state.by_engine[first.engine].append(worker)
            state.loads += 1
            yield from self._spend(state, "loading_seconds", first.need.load_seconds)
        for run in state.starting.pop(worker.name).runs:
            self._note_waits(run)
        for run in batch.runs:
            took = run.need.run_seconds * self._dice.lognormvariate(0, SPREAD)
            yield from self._spend(state, "running_seconds", took)
            self._outcome.runs += 1
            for priority, since in run.waits:
                self._outcome.took[priority].append(self._clock.now - since)
            self._outcome.verdicts += len(run.waits)

    def _spend(self, state: PoolState, what: str, seconds: float) -> Process:
        # What goes on beyond the end of the day is another day's.
        setattr(state, what, getattr(state, what) + min(seconds, DAY - self._clock.now))
        yield self._clock.timeout(seconds)

    def _note_waits(self, run: Run) -> None:
        for priority, since in run.waits:
            self._outcome.waited[priority].append(self._clock.now - since)


def simulate(
    fleet: tuple[Pool, ...], submissions: list[Submission], *, affinity: bool, alone: bool = False, seed: int = 0
) -> Outcome:
    """A day; `alone` sends every reproduction by itself, which is first come, first served."""
    rules = RunRules()
    if alone:
        rules = rules.model_copy(update={"batch": 1})
    return Simulation(fleet, rules, affinity=affinity, seed=seed).day(submissions)


def _time(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)
