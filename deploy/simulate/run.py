"""The day itself, event by event (SimPy): submissions come in, the farm's planner says what goes where, workers run it.

Which batch goes to which worker is `scheduler.dispatch.assignment.assign`, and what travels along
`scheduler.dispatch.batching.fill_batch`, as in the farm; where a model fits is `scheduler.admission.placement.place`;
how long it is taken to need is `specs.policy.cost` on the samples of `specs.judging.forecast`, and what it really takes
that on the samples after which the rule of `specs.judging.stopping` has an answer, times a random factor; how runs
share an engine is deploy/simulate/sharing.py. A claim on a task of a model that waits in the queue shares its run; the
second run of one asks every sample, and answers what is claimed from then on (docs/decisions/0033). In the morning
nothing was run before. What became of a worker that is gone is found out after `run.lease_seconds`, and its attempts
are made again as scheduler/collect/retrying.py has it, each beside no other, from the first sample. Left out: failures
of engines and of the Hub, runs that are handed back, batches that are taken back from the queue of a worker that goes
on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

import simpy

from deploy.simulate.arrivals import DAY, Submission
from deploy.simulate.conditions import REPLACED_SECONDS, Conditions
from deploy.simulate.fleet import Pool, need_of
from deploy.simulate.pools import PoolState
from deploy.simulate.work import Batch, Run
from deploy.simulate.worker import Doing, Worker
from scheduler.collect.retrying import next_try_seconds
from specs.judging.verdict import Outcome
from specs.messages import AttemptOutcome

Process: TypeAlias = Generator[simpy.Event, Any, None]


@dataclass
class DayOutcome:
    """What a day came to."""

    pools: list[PoolState]
    waited: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By priority: seconds of each claim until the run that judges it began; those that wait still are counted too."""

    took: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By priority: seconds of each claim until its verdict, of those that waited for one."""

    decided: list[Decided] = field(default_factory=list)
    answered_at_once: int = 0
    """Claims that a run of every sample answers, which had ended before they came."""

    runs: list[Run] = field(default_factory=list)
    """That ended."""

    failed: int = 0
    """Claims whose run was lost too often."""

    refused: int = 0
    """Claims for models that fit nowhere."""


@dataclass(frozen=True)
class Decided:
    """A claim that has its verdict."""

    claim: Submission
    outcome: Outcome


class Simulation:
    """One day of one fleet."""

    def __init__(self, fleet: tuple[Pool, ...], conditions: Conditions) -> None:
        self._clock = simpy.Environment()
        self._conditions = conditions
        self._rules = conditions.rules
        self._pools = {pool.rules.name: PoolState(pool, conditions) for pool in fleet}
        self._open: dict[Run, None] = {}
        self._runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
        self._outcome = DayOutcome(list(self._pools.values()))

    def day(self, submissions: list[Submission]) -> DayOutcome:
        """Let it go by."""
        self._clock.process(self._arrivals(submissions))
        for state in self._pools.values():
            for worker in state.workers.values():
                process = self._clock.process(self._be_a_worker(state, worker))
                if self._conditions.losses_a_day:
                    self._clock.process(self._lose(worker, process))
        self._clock.run(until=DAY)
        for run in self._open:
            self._note_waits(run, DAY)
        return self._outcome

    def _arrivals(self, submissions: list[Submission]) -> Process:
        for at, together in groupby(submissions, key=lambda each: each.at):
            yield self._clock.timeout(at - self._clock.now)
            # The entries of one file are planned in one go, and so are sent out together.
            for state in {state.pool: state for each in together if (state := self._plan(each))}.values():
                self._dispatch(state)

    def _plan(self, submission: Submission) -> PoolState | None:
        """Plan a claim; the pool that its run waits for, if it fits any and has to be run."""
        runs = self._runs[submission.model.name, submission.task.name]
        need = need_of(submission, every_sample=_is_last(runs, submission.anew))
        if need is None:
            self._outcome.refused += 1
            return None
        run = _answering(runs, submission)
        if run is not None and run.is_complete:
            self._outcome.answered_at_once += 1
            self._decide(run, submission)
            return None
        state = self._pools[need.pool]
        if run is None:
            engine, at = submission.model.name, self._clock.now
            run = Run(engine, submission.task, submission.priority, at, need, len(runs), submission.anew)
            runs.append(run)
            self._open[run] = None
            state.queue(run)
        run.priority = min(run.priority, submission.priority)
        run.claims.append(submission)
        return state

    def _dispatch(self, state: PoolState) -> None:
        """Fill the queues of a pool, as the farm does."""
        while placed := state.place(self._clock.now):
            for batch, worker in placed:
                self._send(state, batch, worker)

    def _send(self, state: PoolState, batch: Batch, worker: Worker | None) -> None:
        for run in batch.runs:
            if run.samples is None:
                others = [each for each in self._runs[run.engine, run.task.name] if each is not run]
                run.send(every_sample=_is_last(others, run.anew))
        taker = worker if worker is not None else next(iter(state.idle.values()), None)
        if taker is None:
            state.common.append(batch)
        else:
            taker.own.append(batch)
        if taker is not None and taker.idle is not None:
            del state.idle[taker.name]
            taker.idle.succeed()
            taker.idle = None
        elif self._conditions.downloads and self._rules.fetch_ahead:
            # Whom scheduler/dispatch/fetch_ahead_hints.py tells.
            likely = taker if taker is not None else state.free_next(len(state.common) - 1, self._clock.now)
            if likely is not None:
                likely.fetch_ahead(batch, self._clock.now)

    def _be_a_worker(self, state: PoolState, worker: Worker) -> Process:
        while True:
            try:
                yield from self._work(state, worker)
            except simpy.Interrupt:
                self._take_back(state, worker)
                yield self._clock.timeout(REPLACED_SECONDS)
                worker.is_there = True

    def _work(self, state: PoolState, worker: Worker) -> Process:
        while True:
            while not worker.own and not state.common:
                worker.idle, worker.since = self._clock.event(), self._clock.now
                state.idle[worker.name] = worker
                yield worker.idle
            batch = worker.own.popleft() if worker.own else state.common.popleft()
            worker.begin(batch, self._clock.now)
            state.note_engines(worker)
            self._dispatch(state)
            yield from self._run(state, worker, batch)
            worker.batch = None

    def _run(self, state: PoolState, worker: Worker, batch: Batch) -> Process:
        for doing, seconds in worker.get_ready(batch, self._conditions, self._clock.now):
            state.note_engines(worker)
            state.loads += doing is Doing.LOADING
            state.wakes += doing is Doing.WAKING
            yield from self._spend(state, worker, doing, seconds)
        began = self._clock.now
        found = batch.spans(self._rules.side_by_side)
        for run, span in zip(batch.runs, found, strict=True):
            run.began = began + span.began
        for run, span in sorted(zip(batch.runs, found, strict=True), key=lambda each: each[1].ended):
            yield from self._spend(state, worker, Doing.RUNNING, began + span.ended - self._clock.now)
            self._end(run)

    def _spend(self, state: PoolState, worker: Worker, doing: Doing, seconds: float) -> Process:
        began, worker.doing = self._clock.now, doing
        until = min(began + seconds, DAY)
        # What goes on beyond the end of the day is another day's.
        state.held[doing] += until - began
        try:
            yield self._clock.timeout(seconds)
        except simpy.Interrupt:
            state.held[doing] -= until - self._clock.now
            raise

    def _end(self, run: Run) -> None:
        run.ended = True
        del self._open[run]
        self._note_waits(run, self._clock.now)
        self._outcome.runs.append(run)
        for claim in run.claims:
            self._outcome.took[claim.priority].append(self._clock.now - claim.at)
            self._decide(run, claim)

    def _decide(self, run: Run, claim: Submission) -> None:
        self._outcome.decided.append(Decided(claim, run.outcome(claim)))

    def _note_waits(self, run: Run, at: float) -> None:
        """Claims waited until their run began; for one that did not by now, they have waited until now."""
        until = at if run.began is None else min(run.began, at)
        for claim in run.claims:
            # It may have come while the run was under way.
            self._outcome.waited[claim.priority].append(max(until - claim.at, 0.0))

    def _lose(self, worker: Worker, process: simpy.Process) -> Process:
        dice = random.Random(worker.name)  # noqa: S311 - it has to come out the same again
        while True:
            yield self._clock.timeout(dice.expovariate(self._conditions.losses_a_day / DAY))
            if worker.is_there:
                process.interrupt()

    def _take_back(self, state: PoolState, worker: Worker) -> None:
        """A worker is gone: what it worked at, and what waited for it, is queued again."""
        state.losses += 1
        state.idle.pop(worker.name, None)
        waited = [run for batch in worker.own for run in batch.runs]
        lost = [run for run in worker.batch.runs if not run.ended] if worker.batch is not None else []
        starting, at = worker.doing in (Doing.SETTING_ASIDE, Doing.LOADING, Doing.WAKING), self._clock.now
        for place, run in enumerate(lost):
            run.failures += 1
            # As in scheduler/collect/ending.py: while its engine was started, or worked for it.
            begun = starting and place < self._rules.side_by_side
            run.deaths += begun or (run.began is not None and run.began <= at)
        worker.leave(state.a_disk())
        state.note_engines(worker)
        for run in waited:
            self._clock.process(self._queue_again(state, run, self._rules.lease_seconds))
        for run in lost:
            pause = next_try_seconds(AttemptOutcome.LOST, run.failures, run.deaths, self._rules)
            if pause is None:
                self._outcome.failed += len(run.claims)
                run.came_to_nothing = True
                del self._open[run]
                self._note_waits(run, at)
            else:
                run.began = None
                self._clock.process(self._queue_again(state, run, self._rules.lease_seconds + pause))

    def _queue_again(self, state: PoolState, run: Run, seconds: float) -> Process:
        yield self._clock.timeout(seconds)
        state.queue(run)
        self._dispatch(state)


def _answering(runs: Sequence[Run], claim: Submission) -> Run | None:
    """The run of a task of a model that answers one more claim, if any; scheduler/planning/joinable_runs.py."""
    found = []
    for run in reversed(runs):
        if run.takes_claims and not (claim.anew and run.samples is not None):
            found.append(run)
        if run.anew and not run.came_to_nothing:
            # What was run before answers no more.
            break
    return max(found, key=lambda run: run.is_complete, default=None)


def simulate(fleet: tuple[Pool, ...], submissions: list[Submission], conditions: Conditions) -> DayOutcome:
    """A day."""
    return Simulation(fleet, conditions).day(submissions)


def _is_last(earlier: Sequence[Run], anew: bool) -> bool:
    """Whether a run asks every sample, after those of its task and model; scheduler/judging/stopping.py."""
    return not anew and any(each.is_a_draw for each in earlier)
