"""Which queued reproductions travel together next, and to which worker. Pure: facts in, assignments out.

What runs on a GPU is an engine, and to load one takes minutes in which nothing is verified. So work goes to where its
engine is already, as far as that is fair:

1. A more urgent class of priority goes before a less urgent one.
2. Within a class, what has waited for longer than `run.hold_back_seconds` goes first, the oldest before all; then what
   finds its engine at a worker that has room; then the rest. Of two that are alike, the older one.
3. What finds no place keeps less urgent classes from being placed before it; once it has waited for too long, its own
   class too. The same holds for what waits in the pool's common queue, which workers turn to after their own.
4. An idle worker is never left idle to spare a load: it takes the next group whether or not it has its engine. Of those
   that do not, the one that has been idle for longest, so that what was asked for lately stays loaded.
5. A busy worker has room for what needs its engine if it is expected to be free before another would have loaded it.
6. What travels along with the first of a batch is short, and passes over nobody: scheduler/dispatch/batching.py.

So an engine's being loaded somewhere lets a reproduction go before older ones of its class, but none of those waits
for longer on that account than `run.hold_back_seconds` and the batch that then runs, or is next, at each worker.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from specs.policy.run import RunRules

COMMON_AHEAD = 2
"""Batches that wait in a pool's common queue: what is decided late is decided well."""

LATELY_SECONDS = 2.0
"""A pool that is through with more than `COMMON_AHEAD` batches in such a time has as many waiting, as far as they are
short too, so that its workers do not wait for the dispatcher."""

MOST_AHEAD = 16
"""Batches that wait in a pool's common queue at most."""

SHORT_SECONDS = 10.0
"""What a run of a short batch is taken to ask its engine at most."""

OWN_AHEAD = 1
"""Batches that wait for one worker at most, behind the one it runs."""

BELIEVED = 1.5
"""Times what it is taken to need: what a batch that takes longer will still need, nobody knows."""


class Turn(NamedTuple):
    """Whose turn it is: the lesser one's is first."""

    priority: int
    since: datetime


_LAST = datetime.max.replace(tzinfo=UTC)


def last_turn_before(turn: Turn, at: datetime, rules: RunRules) -> Turn:
    """The last turn of those that may go before one that waits: of its class all, as long as it is not late."""
    return turn if is_late(turn.since, at, rules) else Turn(turn.priority, _LAST)


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
    load_seconds: float
    """That the engine is taken to need to come up."""

    longest_seconds: float | None = None
    """That the longest of them is taken to ask it; None where nobody knows it of all."""


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

    idle_since: datetime | None = None
    """None where it is not, or was never seen at work."""

    free_in: float | None = None
    """Seconds until one that is not idle is expected to be; None where nobody knows."""


@dataclass(frozen=True)
class WaitingBatch:
    """A batch in the pool's common queue."""

    priority: int
    """Of the most urgent reproduction in it."""

    since: datetime
    """How long the oldest of them has waited, in the common queue and before."""


@dataclass(frozen=True)
class Assignment:
    """A batch to be sent. Who is in it says scheduler/dispatch/batching.py."""

    engine: str
    seat: str | None
    """Name of the worker; None is the pool's common queue."""

    load_seconds: float
    """That the engine is taken to need to come up."""

    limit: Turn | None
    """The last turn that goes before the others that still wait for a worker. Nothing with a later one may join this
    batch. None where nobody else waits."""

    spare: bool
    """Whether a worker is idle still, for what does not go along."""


def common_room(ended_lately: int) -> int:
    """How many short batches may wait in a common queue of which so many ended within `LATELY_SECONDS`."""
    return min(max(COMMON_AHEAD, ended_lately), MOST_AHEAD)


def next_free(seats: Iterable[Seat]) -> list[str]:
    """The workers that run something, in the order in which they are expected to be free; who may take long is last."""
    busy = [seat for seat in seats if not seat.idle]
    busy.sort(key=lambda seat: (seat.free_in is None, seat.free_in or 0.0, seat.name))
    return [seat.name for seat in busy]


def free_in(expected_seconds: float, elapsed_seconds: float) -> float | None:
    """Seconds until a batch that is taken to need so many will be over; None where nobody knows."""
    if elapsed_seconds > BELIEVED * expected_seconds:
        return None
    return max(0.0, expected_seconds - elapsed_seconds)


def assign(
    groups: Iterable[Group],
    seats: Sequence[Seat],
    common: Sequence[WaitingBatch],
    at: datetime,
    rules: RunRules,
    room: int = COMMON_AHEAD,
) -> tuple[Assignment, ...]:
    """The batches of one pool to be sent now, most urgent first; one an engine at most, so call again until none is.

    `groups` are those that may be sent: with several classes of one engine as several groups. `seats` are the pool's
    workers that take work, which leaves out lost, draining and quarantined ones; `common` is what waits in its common
    queue, where `room` short ones may. To see what affinity is worth, pass seats without engines.
    """
    return _Round(groups, seats, common, at, rules, room).run()


def is_late(since: datetime, at: datetime, rules: RunRules) -> bool:
    """Whether what has waited since then goes before its class by age alone."""
    return at - since > timedelta(seconds=rules.hold_back_seconds)


def is_short(group: Group) -> bool:
    """Whether none of its runs is taken to need more than moments of its engine."""
    return group.longest_seconds is not None and group.longest_seconds <= SHORT_SECONDS


class _Round:
    """One call of `assign`, with what it has used up so far."""

    def __init__(
        self,
        groups: Iterable[Group],
        seats: Sequence[Seat],
        common: Sequence[WaitingBatch],
        at: datetime,
        rules: RunRules,
        room: int,
    ) -> None:
        self._groups = tuple(groups)
        self._at = at
        self._rules = rules
        self._room = room
        self._common = list(common)
        self._left_over: list[WaitingBatch] = []
        self._waits: list[tuple[Turn, str]] = []
        """Whose turn is still to come, and of what engine it is ("" for a batch in the common queue)."""

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
            key=lambda seat: (
                len(wanted & seat.asleep) + (seat.loaded in wanted),
                seat.loaded is not None,
                seat.idle_since.timestamp() if seat.idle_since is not None else 0.0,
                seat.name,
            ),
            reverse=True,
        )

    def run(self) -> tuple[Assignment, ...]:
        """The assignments."""
        for each in self._common:
            self._wait(each.priority, each.since, "")
        placed = {group.engine: (group, seat) for group, seat in self._places()}
        for group in self._groups:
            first, seat = placed.get(group.engine, (None, None))
            # What is in the common queue waits for a worker, and what may not go along for its batch.
            if group is not first or seat is None or group.count > 1:
                self._wait(group.priority, group.since, group.engine)
        spare = any(seat.name in self._free for seat in self._idle)
        return tuple(
            Assignment(group.engine, seat, group.load_seconds, self._limit(group.engine), spare)
            for group, seat in placed.values()
        )

    def _places(self) -> Iterator[tuple[Group, str | None]]:
        placed: set[str] = set()
        for group in sorted(self._groups, key=self._rank):
            if group.engine in placed:
                self._leave_over(group)
                continue
            if self._goes_after(group, self._left_over):
                continue
            seat = self._seat_for(group)
            if seat is None and len(self._common) >= (self._room if is_short(group) else COMMON_AHEAD):
                if not self._free:
                    return
                # Nor does a short one go there past it.
                self._room = 0
                self._leave_over(group)
                continue
            if seat is None:
                self._common.append(WaitingBatch(group.priority, group.since))
            placed.add(group.engine)
            if group.count > 1:
                # Not all of it may go along, and what does not comes before what goes after it.
                self._leave_over(group)
            yield group, seat

    def _rank(self, group: Group) -> tuple[int, bool, bool, datetime, str]:
        late = self._is_late(group.since)
        cold = not late and not any(True for _ in self._warm_for(group))
        return group.priority, not late, cold, group.since, group.engine

    def _wait(self, priority: int, since: datetime, engine: str) -> None:
        insort(self._waits, (last_turn_before(Turn(priority, since), self._at, self._rules), engine))

    def _limit(self, engine: str) -> Turn | None:
        return next((turn for turn, whose in self._waits if whose != engine), None)

    def _leave_over(self, group: Group) -> None:
        """Of each class the first is enough: it is the oldest of those that are late, if any is."""
        if all(each.priority != group.priority for each in self._left_over):
            self._left_over.append(WaitingBatch(group.priority, group.since))

    def _is_late(self, since: datetime) -> bool:
        return is_late(since, self._at, self._rules)

    def _goes_after(self, group: Group, waiting: Iterable[WaitingBatch]) -> bool:
        """Whether any of `waiting` is more urgent, or has waited for too long and is older."""
        return any(
            each.priority < group.priority
            or (each.priority == group.priority and each.since < group.since and self._is_late(each.since))
            for each in waiting
        )

    def _warm_for(self, group: Group) -> Iterator[Seat]:
        """Workers that have its engine and room for it, the best first."""
        for seat in self._warm.get(group.engine, ()):
            if seat.name in self._free and (
                seat.idle or (seat.free_in is not None and seat.free_in <= group.load_seconds)
            ):
                yield seat

    def _seat_for(self, group: Group) -> str | None:
        """The worker that is to have it by itself; None where the common queue is the place for it."""
        if self._goes_after(group, self._common):
            # A worker turns to its own queue first.
            return None
        warm = next(self._warm_for(group), None)
        seat = warm if warm is not None and warm.idle else self._idle_one()
        seat = seat or warm
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
