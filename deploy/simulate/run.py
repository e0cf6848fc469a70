"""The day itself, event by event (SimPy): submissions come in, the farm's planner says what goes where, workers run it.

Which batch goes to which worker is `scheduler.batching.place`, and what travels along `scheduler.filling.fill`, as in
the farm; where a model fits is `scheduler.placement.place`; how long it takes is `specs.cost` on the samples of
`specs.forecast`, times a random factor; how runs share an engine is deploy/simulate/sharing.py. A claim on a task of a
model that waits in the queue shares its run. Left out: failures, fetching, engines that sleep, batches that are taken
back from a worker's own queue. What is held against the planner is what it decides.
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
from deploy.simulate.fleet import ENGINE, Need, Pool, need_of
from deploy.simulate.sharing import Load, spans
from scheduler.batching import COMMON_AHEAD, OWN_AHEAD, Group, Placement, Seat, Turn, Waiting, free_in, place
from scheduler.filling import Queued, fill
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

    @property
    def queued(self) -> Queued:
        """As the planner sees it."""
        return Queued(self.task, Turn(self.priority, _time(self.since)), self.need.run_seconds)

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
    def waiting(self) -> Waiting:
        """As the planner sees it in the common queue."""
        return Waiting(min(run.priority for run in self.runs), _time(min(run.since for run in self.runs)))

    @property
    def expected_seconds(self) -> float:
        """That the farm takes it to need, not knowing whether its engine is there."""
        return self.runs[0].need.load_seconds + sum(run.need.run_seconds for run in self.runs)


@dataclass
class Worker:
    """A worker of a pool."""

    name: str
    own: deque[Batch] = field(default_factory=deque)
    loaded: str | None = None
    asleep: simpy.Event | None = None
    """That it waits for while it has nothing to do."""

    since: float = 0.0
    """When it began with what it does, or to do nothing."""

    expected_seconds: float = 0.0
    """Of the batch that it runs."""

    @property
    def is_idle(self) -> bool:
        """It runs nothing, and nothing waits for it."""
        return self.asleep is not None and not self.own

    @property
    def has_room(self) -> bool:
        """As many batches as may wait for one worker do not wait for it yet."""
        return len(self.own) < OWN_AHEAD

    def seat(self, at: float) -> Seat:
        """As the planner sees it, if it has room."""
        if self.is_idle:
            return Seat(self.name, idle=True, ahead=0, loaded=self.loaded, idle_since=_time(self.since))
        free = free_in(self.expected_seconds, at - self.since)
        return Seat(self.name, idle=False, ahead=0, loaded=self.loaded, free_in=free)


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
    """By priority: seconds from each claim's arrival until its run begins on a loaded engine; until the end of the day,
    where that had not come."""

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

    def __init__(self, fleet: tuple[Pool, ...], rules: RunRules, *, affinity: bool) -> None:
        self._rules = rules
        self._affinity = affinity
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
                self._note_waits(run, DAY)
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
        least = nsmallest(
            len(state.queued) + COMMON_AHEAD, cold, key=lambda each: (each.loaded is not None, each.since, each.name)
        )
        return [each.seat(self._clock.now) for each in (*warm, *least)]

    @staticmethod
    def _groups(state: PoolState) -> Iterator[Group]:
        for engine, by_task in state.queued.items():
            classes: dict[int, list[Run]] = defaultdict(list)
            for run in by_task.values():
                classes[run.priority].append(run)
            for priority, runs in classes.items():
                since = _time(min(run.since for run in runs))
                yield Group(engine, priority, since, len(runs), runs[0].need.load_seconds)

    def _send(self, state: PoolState, placement: Placement) -> None:
        queued = state.queued[placement.engine]
        waiting = sorted((run.queued for run in queued.values()), key=lambda each: each.turn)
        chosen = fill(waiting, placement, _time(self._clock.now), self._rules)
        batch = Batch(tuple(queued.pop(each.name) for each in chosen))
        if not queued:
            del state.queued[placement.engine]
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
                worker.since = self._clock.now
                state.idle[worker.name] = worker
                yield worker.asleep
                worker.asleep = None
            batch = worker.own.popleft() if worker.own else state.common.popleft()
            self._dispatch(state)
            yield from self._run(state, worker, batch)

    def _run(self, state: PoolState, worker: Worker, batch: Batch) -> Process:
        first = batch.runs[0]
        state.starting[worker.name] = batch
        worker.since, worker.expected_seconds = self._clock.now, batch.expected_seconds
        if worker.loaded != first.engine:
            if worker.loaded is not None:
                state.by_engine[worker.loaded].remove(worker)
            worker.loaded = first.engine
            state.by_engine[first.engine].append(worker)
            state.loads += 1
            yield from self._spend(state, "loading_seconds", first.need.load_seconds)
        del state.starting[worker.name]
        began = self._clock.now
        found = spans([run.load for run in batch.runs], self._rules.side_by_side, ENGINE.concurrency)
        for run, span in zip(batch.runs, found, strict=True):
            self._note_waits(run, began + span.began)
        for run, span in sorted(zip(batch.runs, found, strict=True), key=lambda each: each[1].ended):
            yield from self._spend(state, "running_seconds", began + span.ended - self._clock.now)
            self._outcome.runs += 1
            for priority, since in run.waits:
                self._outcome.took[priority].append(self._clock.now - since)
            self._outcome.verdicts += len(run.waits)

    def _spend(self, state: PoolState, what: str, seconds: float) -> Process:
        # What goes on beyond the end of the day is another day's.
        setattr(state, what, getattr(state, what) + min(seconds, DAY - self._clock.now))
        yield self._clock.timeout(seconds)

    def _note_waits(self, run: Run, until: float) -> None:
        for priority, since in run.waits:
            self._outcome.waited[priority].append(min(until, DAY) - since)


def simulate(fleet: tuple[Pool, ...], submissions: list[Submission], *, affinity: bool, alone: bool = False) -> Outcome:
    """A day; `alone` sends every reproduction by itself, which is first come, first served."""
    rules = RunRules()
    if alone:
        rules = rules.model_copy(update={"batch": 1})
    return Simulation(fleet, rules, affinity=affinity).day(submissions)


def _time(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)
