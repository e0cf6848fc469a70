"""A simulated worker: what it has loaded, what sleeps in its host's memory, what is on its disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import simpy

from deploy.simulate.conditions import Conditions, copy_seconds, download_seconds
from deploy.simulate.work import Batch, time
from scheduler.dispatch.assignment import OWN_AHEAD, Seat, free_in
from specs.policy.pools import PoolRules
from workers.engines.sleepers import has_room


class Doing(StrEnum):
    """What a worker's GPUs are held for."""

    RUNNING = "running"
    FETCHING = "fetching"
    """They wait for weights."""

    SETTING_ASIDE = "setting aside"
    """The engine before is put to sleep."""

    LOADING = "loading"
    WAKING = "waking"


@dataclass
class Disk:
    """Where weights are kept; there is room for those of a day."""

    models: dict[str, float] = field(default_factory=dict)
    """When each is there."""

    used_bytes: int = 0

    def fetch(self, model: str, weights_bytes: int, at: float) -> float:
        """When the weights are there: who needs what is on its way waits for that."""
        if model not in self.models:
            self.models[model] = at + download_seconds(weights_bytes)
            self.used_bytes += weights_bytes
        return self.models[model]


@dataclass(eq=False)
class Worker:
    """A worker of a pool."""

    name: str
    pool: PoolRules
    host_bytes: int
    disk: Disk = field(default_factory=Disk)
    own: deque[Batch] = field(default_factory=deque)
    batch: Batch | None = None
    """That it works at."""

    doing: Doing | None = None
    loaded: tuple[str, int] | None = None
    """Engine, and bytes of its weights."""

    asleep: dict[str, int] = field(default_factory=dict)
    """Engines and the bytes of their weights; the one that was not used for longest first."""

    fetching_until: float = 0.0
    is_there: bool = True
    idle: simpy.Event | None = None
    """That it waits for while it has nothing to do."""

    since: float = 0.0
    """When it began with what it does, or to do nothing."""

    @property
    def has_room(self) -> bool:
        """As many batches as may wait for one worker do not wait for it yet."""
        return self.is_there and len(self.own) < OWN_AHEAD

    @property
    def engine(self) -> str | None:
        """That it has up, or will have for its batch."""
        if self.batch is not None:
            return self.batch.engine
        return self.loaded[0] if self.loaded is not None else None

    @property
    def engines(self) -> frozenset[str]:
        """That it need not load."""
        return frozenset(self.asleep) | ({self.engine} if self.engine is not None else set())

    def seat(self, at: float) -> Seat:
        """As the planner sees it, if it has room."""
        asleep = frozenset(self.asleep)
        if self.batch is None:
            return Seat(self.name, True, 0, self.engine, asleep, idle_since=time(self.since))
        free = free_in(self.batch.expected_seconds, at - self.since)
        return Seat(self.name, False, 0, self.engine, asleep, free_in=free)

    def begin(self, batch: Batch, at: float) -> None:
        """Take a batch."""
        self.batch, self.since = batch, at

    def get_ready(self, batch: Batch, conditions: Conditions, at: float) -> Iterator[tuple[Doing, float]]:
        """What it does until the engine of a batch is up, and for how many seconds each."""
        engine, weights = batch.engine, batch.need.weights_bytes
        if self.loaded is not None and self.loaded[0] == engine:
            return
        if conditions.downloads and (wait := self.disk.fetch(engine, weights, at) - at) > 0:
            yield Doing.FETCHING, wait
        if conditions.sleep and (copying := self._set_aside(engine)) > 0:
            yield Doing.SETTING_ASIDE, copying
        self.loaded = engine, weights
        if self.asleep.pop(engine, None) is not None:
            yield Doing.WAKING, copy_seconds(weights, self.pool.gpus)
        else:
            yield Doing.LOADING, batch.need.load_seconds

    def fetch_ahead(self, batch: Batch, at: float) -> None:
        """Follow a hint, unless another one is followed still (workers/snapshots/fetch_ahead.py)."""
        if self.fetching_until <= at:
            self.fetching_until = self.disk.fetch(batch.engine, batch.need.weights_bytes, at)

    def leave(self, disk: Disk) -> None:
        """It is gone; the next in its place has that disk, and nothing else."""
        self.is_there, self.batch, self.doing, self.loaded, self.idle = False, None, None, None, None
        self.own.clear()
        self.asleep.clear()
        self.disk, self.fetching_until = disk, 0.0

    def _set_aside(self, wanted: str) -> float:
        """Put the engine that is up to sleep, as far as there is room; how many seconds that takes."""
        if self.loaded is None:
            return 0.0
        engine, weights = self.loaded
        while not has_room(self.host_bytes, self.host_bytes - sum(self.asleep.values()), weights):
            oldest = next((each for each in self.asleep if each != wanted), None)
            if oldest is None:
                return 0.0
            del self.asleep[oldest]
        self.asleep[engine] = weights
        return copy_seconds(weights, self.pool.gpus)
