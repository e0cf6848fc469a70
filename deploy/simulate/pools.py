"""A pool on a simulated day, and what the farm's planner is shown of it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nsmallest

from deploy.simulate.conditions import Conditions
from deploy.simulate.fleet import Pool
from deploy.simulate.work import Batch, Run, time
from deploy.simulate.worker import Disk, Doing, Worker
from scheduler.dispatch.assignment import COMMON_AHEAD, Assignment, Group, Seat, assign, next_free
from scheduler.dispatch.batching import fill_batch


@dataclass
class PoolState:
    """A pool while the day goes on."""

    pool: Pool
    conditions: Conditions
    workers: dict[str, Worker] = field(init=False)
    disks: list[Disk] = field(default_factory=list)
    """One for each worker that there was, or one for all."""

    queued: dict[str, dict[str, Run]] = field(default_factory=lambda: defaultdict(dict))
    """By engine and name."""

    idle: dict[str, Worker] = field(default_factory=dict)
    common: deque[Batch] = field(default_factory=deque)
    loads: int = 0
    wakes: int = 0
    losses: int = 0
    held: dict[Doing, float] = field(default_factory=lambda: dict.fromkeys(Doing, 0.0))
    """Seconds of all workers."""

    _by_engine: dict[str, dict[str, Worker]] = field(default_factory=lambda: defaultdict(dict))
    """Workers that need not load it."""

    _known: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules, host_bytes = self.pool.rules, self.pool.host_gib * 2**30
        names = (f"{rules.name}-{number}" for number in range(self.pool.workers))
        self.workers = {name: Worker(name, rules, host_bytes, self.a_disk()) for name in names}

    def a_disk(self) -> Disk:
        """For a worker that is new."""
        if not self.disks or not self.conditions.shared_disks:
            self.disks.append(Disk())
        return self.disks[-1]

    def note_engines(self, worker: Worker) -> None:
        """Which engines a worker has may have changed."""
        before, now = self._known.get(worker.name, frozenset()), worker.engines
        for engine in before - now:
            del self._by_engine[engine][worker.name]
        for engine in now - before:
            self._by_engine[engine][worker.name] = worker
        self._known[worker.name] = now

    def queue(self, run: Run) -> None:
        """Have a run wait to be sent out."""
        self.queued[run.engine][run.name] = run

    def place(self, at: float) -> list[tuple[Batch, Worker | None]]:
        """The batches that the farm sends out now, each with the worker whose own it is."""
        seats = self._seats(at)
        if not self.queued or (not seats and len(self.common) >= COMMON_AHEAD):
            return []
        waiting = [batch.waiting for batch in self.common]
        placed = assign(self._groups(), seats, waiting, time(at), self.conditions.rules)
        return [(self._fill(each, at), self.workers[each.seat] if each.seat else None) for each in placed]

    def free_next(self, places: int, at: float) -> Worker | None:
        """Who is expected to take what so many batches wait before."""
        found = next_free(each.seat(at) for each in self.workers.values() if each.batch is not None)
        return self.workers[found[places]] if len(found) > places else None

    def _fill(self, assignment: Assignment, at: float) -> Batch:
        queued = self.queued[assignment.engine]
        waiting = sorted((run.queued for run in queued.values()), key=lambda each: each.turn)
        chosen = fill_batch(waiting, assignment, time(at), self.conditions.rules)
        batch = Batch(tuple(queued.pop(each.name) for each in chosen))
        if not queued:
            del self.queued[assignment.engine]
        return batch

    def _seats(self, at: float) -> list[Seat]:
        """The workers that may get anything: to show the planner others too would change nothing but its pace."""
        most = len(self.queued) + COMMON_AHEAD
        if not self.conditions.affinity:
            return [Seat(name, True, 0, None) for name in nsmallest(most, self.idle)]
        warm = {
            name: each
            for engine in self.queued
            for name, each in self._by_engine.get(engine, {}).items()
            if each.has_room
        }
        cold = (each for each in self.idle.values() if each.name not in warm)
        least = nsmallest(most, cold, key=lambda each: (each.loaded is not None, each.since, each.name))
        return [each.seat(at) for each in (*warm.values(), *least)]

    def _groups(self) -> Iterator[Group]:
        for engine, by_name in self.queued.items():
            classes: dict[int, list[Run]] = defaultdict(list)
            for run in by_name.values():
                classes[run.priority].append(run)
            for priority, runs in classes.items():
                since = time(min(run.since for run in runs))
                yield Group(engine, priority, since, len(runs), runs[0].need.load_seconds)
