"""Which queued reproductions travel together next, and to which worker. Pure: facts in, placements out.

What runs on a GPU is an engine, and to load one takes minutes in which nothing is verified. So work goes to where its
engine is already, as far as that is fair:

1. A more urgent class of priority goes before a less urgent one.
2. Within a class, what has waited for longer than `run.hold_back_seconds` goes first, the oldest before all; then what
   finds its engine at a worker that has room; then the rest. Of two that are alike, the older one.
3. What finds no place keeps less urgent classes from being placed before it; once it has waited for too long, its own
   class too. The same holds for what waits in the pool's common queue, which workers turn to after their own.
4. An idle worker is never left idle to spare a load: it takes the next group whether or not it has its engine.

So an engine's being loaded somewhere lets a reproduction go before older ones of its class, but none of those waits
for longer on that account than `run.hold_back_seconds` and the batch that then runs, or is next, at each worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from specs.policy import RunRules

COMMON_AHEAD = 2
"""Batches that wait in a pool's common queue at most: what is decided late is decided well."""

OWN_AHEAD = 1
"""Batches that wait for one worker at most, behind the one it runs."""


@dataclass(frozen=True)
class Group:
    """Queued reproductions of one class of priority that one engine can serve."""

    engine: str
    """The engine's key (specs/engine_key.py): model, revision, rules and GPUs."""

    priority: int
    """Lower goes first."""

    since: datetime
    """How long the oldest of them has waited."""

    count: int


@dataclass(frozen=True)
class Seat:
    """A worker that takes work."""

    name: str
    idle: bool
    """It runs nothing."""

    ahead: int
    """Batches that were sent to it and that it has not begun."""

    loaded: str | None
    """Key of the engine that is up there."""

    asleep: frozenset[str] = frozenset()
    """Keys of engines whose weights it keeps in the host's memory: awake within seconds."""


@dataclass(frozen=True)
class Waiting:
    """A batch in the pool's common queue."""

    priority: int
    """Of the most urgent reproduction in it."""

    since: datetime
    """How long the oldest of them has waited, in the common queue and before."""


@dataclass(frozen=True)
class Placement:
    """A batch to be sent."""

    engine: str
    seat: str | None
    """Name of the worker; None is the pool's common queue."""

    count: int
    """Reproductions of that engine, of any class: the most urgent ones, and of those the oldest."""


def place(
    groups: Iterable[Group], seats: Sequence[Seat], common: Sequence[Waiting], at: datetime, rules: RunRules
) -> tuple[Placement, ...]:
    """The batches of one pool to be sent now, most urgent first; one an engine at most, so call again until none is.

    `groups` are those that may be sent: with several classes of one engine as several groups. `seats` are the pool's
    workers that take work, which leaves out lost, draining and quarantined ones; `common` is what waits in its common
    queue. To see what affinity is worth, pass seats without engines.
    """
    return tuple(_Round(groups, seats, common, at, rules).run())


class _Round:
    """One call of `place`, with what it has used up so far."""

    def __init__(
        self, groups: Iterable[Group], seats: Sequence[Seat], common: Sequence[Waiting], at: datetime, rules: RunRules
    ) -> None:
        self._groups = tuple(groups)
        self._at = at
        self._batch = rules.batch
        self._hold_back = timedelta(seconds=rules.hold_back_seconds)
        self._common = list(common)
        self._left_over: list[Waiting] = []
        self._free = {seat.name for seat in seats if seat.ahead < OWN_AHEAD}
        free = sorted((seat for seat in seats if seat.name in self._free), key=lambda seat: seat.name)
        self._warm: defaultdict[str, list[Seat]] = defaultdict(list)
        for seat in free:
            for engine in seat.asleep | ({seat.loaded} if seat.loaded is not None else set()):
                self._warm[engine].append(seat)
        for engine, warm in self._warm.items():
            warm.sort(key=lambda seat: (not seat.idle, seat.loaded != engine, seat.name))
        wanted = {group.engine for group in self._groups}
        # Taken from the end, which is where a worker stands that loses nothing by another engine.
        self._idle = sorted(
            (seat for seat in free if seat.idle),
            key=lambda seat: (len(wanted & seat.asleep) + (seat.loaded in wanted), seat.loaded is not None, seat.name),
            reverse=True,
        )

    def run(self) -> Iterator[Placement]:
        """The placements."""
        counts: defaultdict[str, int] = defaultdict(int)
        for group in self._groups:
            counts[group.engine] += group.count
        placed: set[str] = set()
        for group in sorted(self._groups, key=self._rank):
            if group.engine in placed or self._goes_after(group, self._left_over):
                continue
            seat = self._seat_for(group)
            if seat is None and len(self._common) >= COMMON_AHEAD:
                if not self._free:
                    return
                self._leave_over(group)
                continue
            if seat is None:
                self._common.append(Waiting(group.priority, group.since))
            placed.add(group.engine)
            yield Placement(group.engine, seat, min(self._batch, counts[group.engine]))

    def _rank(self, group: Group) -> tuple[int, bool, bool, datetime, str]:
        late = self._is_late(group.since)
        cold = not late and group.engine not in self._warm
        return group.priority, not late, cold, group.since, group.engine

    def _leave_over(self, group: Group) -> None:
        """Of each class the oldest is enough: what goes after any of them goes after it."""
        same = next((each for each in self._left_over if each.priority == group.priority), None)
        if same is None or group.since < same.since:
            self._left_over = [each for each in self._left_over if each is not same]
            self._left_over.append(Waiting(group.priority, group.since))

    def _is_late(self, since: datetime) -> bool:
        return self._at - since > self._hold_back

    def _goes_after(self, group: Group, waiting: Iterable[Waiting]) -> bool:
        """Whether any of `waiting` is more urgent, or has waited for too long and is older."""
        return any(
            each.priority < group.priority
            or (each.priority == group.priority and each.since < group.since and self._is_late(each.since))
            for each in waiting
        )

    def _seat_for(self, group: Group) -> str | None:
        """The worker that is to have it by itself; None where the common queue is the place for it."""
        warm = [seat for seat in self._warm.get(group.engine, ()) if seat.name in self._free]
        if self._goes_after(group, self._common):
            # A worker turns to its own queue first.
            return None
        seat = warm[0] if warm and warm[0].idle else self._idle_one()
        seat = seat or (warm[0] if warm else None)
        if seat is None:
            return None
        self._free.remove(seat.name)
        return seat.name

    def _idle_one(self) -> Seat | None:
        """An idle worker with another engine or none; while the common queue holds work, that is for the idle ones."""
        while self._idle and not self._common:
            seat = self._idle.pop()
            if seat.name in self._free:
                return seat
        return None
