"""Batches and loaded engines hold nobody back beyond a bound, whatever comes: the planner's days with made-up work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch.assignment import (
    COMMON_AHEAD,
    OWN_AHEAD,
    Assignment,
    Group,
    Seat,
    Turn,
    WaitingBatch,
    assign,
    free_in,
    is_late,
)
from scheduler.dispatch.batching import ALONG, Queued, fill_batch
from specs.policy.run import RunRules

BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = RunRules(batch=4, hold_back_seconds=300, side_by_side=2)
LOAD = 60.0


def time(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Work:
    """A reproduction."""

    number: int
    at: int
    """When it comes, in seconds."""

    engine: str
    priority: int
    seconds: float
    is_known: bool
    """Whether the farm knows how long it takes."""

    @property
    def turn(self) -> Turn:
        return Turn(self.priority, time(self.at))

    @property
    def queued(self) -> Queued:
        return Queued(str(self.number), self.turn, self.seconds if self.is_known else None)


@dataclass(frozen=True)
class Sent:
    """A batch, and what waited in the queue when it was sent."""

    at: float
    works: tuple[Work, ...]
    assignment: Assignment
    left: tuple[Work, ...]
    waiting: tuple[Work, ...] = ()
    """What had no worker of its own when all of that round was sent: there, or in the common queue."""


@dataclass
class Worker:
    """A worker; it knows when it is free."""

    name: str
    own: deque[Sent] = field(default_factory=deque)
    loaded: str | None = None
    since: float = 0.0
    expected: float = 0.0
    until: float | None = None

    def seat(self, at: float) -> Seat:
        idle = self.until is None
        return Seat(
            self.name,
            idle=idle,
            ahead=len(self.own),
            loaded=self.loaded,
            idle_since=time(self.since) if idle else None,
            free_in=None if idle else free_in(self.expected, at - self.since),
        )


@dataclass
class Farm:
    """A pool, and the farm's decisions about it."""

    workers: list[Worker]
    queue: list[Work] = field(default_factory=list)
    common: deque[Sent] = field(default_factory=deque)
    sent: list[Sent] = field(default_factory=list)
    begun: dict[int, float] = field(default_factory=dict)

    def run(self, works: Sequence[Work]) -> None:
        """Until all is done."""
        coming = deque(sorted(works, key=lambda work: work.at))
        while coming or any(worker.until is not None for worker in self.workers):
            ends = [worker.until for worker in self.workers if worker.until is not None]
            at = min([*ends, *(work.at for work in list(coming)[:1])])
            while coming and coming[0].at <= at:
                self.queue.append(coming.popleft())
            for worker in self.workers:
                if worker.until is not None and worker.until <= at:
                    worker.since, worker.until = at, None
            self._settle(at)

    def _settle(self, at: float) -> None:
        """Send and take until nothing changes."""
        while True:
            before = len(self.sent), len(self.begun)
            self._take(at)
            self._dispatch(at)
            if (len(self.sent), len(self.begun)) == before:
                return

    def _take(self, at: float) -> None:
        for worker in self.workers:
            if worker.until is None and (worker.own or self.common):
                batch = worker.own.popleft() if worker.own else self.common.popleft()
                load = LOAD if worker.loaded != batch.assignment.engine else 0.0
                takes = sum(work.seconds for work in batch.works)
                worker.loaded, worker.since, worker.until = batch.assignment.engine, at, at + load + takes
                worker.expected = LOAD + takes
                self.begun |= {work.number: at for work in batch.works}

    def _dispatch(self, at: float) -> None:
        while placed := assign(self._groups(), self._seats(at), self._waiting(), time(at), RULES):
            sent = [self._send(assignment, at) for assignment in placed]
            common = [work for batch in sent if batch.assignment.seat is None for work in batch.works]
            self.sent += [replace(batch, waiting=(*self.queue, *common)) for batch in sent]
        assert (
            not self.queue or not any(seat.idle and seat.ahead < OWN_AHEAD for seat in self._seats(at)) or self.common
        )

    def _send(self, assignment: Assignment, at: float) -> Sent:
        waiting = sorted((w for w in self.queue if w.engine == assignment.engine), key=lambda work: work.turn)
        names = {each.name for each in fill_batch([w.queued for w in waiting], assignment, time(at), RULES)}
        works = tuple(work for work in waiting if str(work.number) in names)
        self.queue = [work for work in self.queue if work not in works]
        batch = Sent(at, works, assignment, tuple(self.queue))
        to = next((each.own for each in self.workers if each.name == assignment.seat), self.common)
        to.append(batch)
        return batch

    def _groups(self) -> Iterator[Group]:
        def of(work: Work) -> tuple[str, int]:
            return work.engine, work.priority

        for (engine, priority), found in groupby(sorted(self.queue, key=of), key=of):
            works = list(found)
            yield Group(engine, priority, time(min(work.at for work in works)), len(works), LOAD)

    def _seats(self, at: float) -> list[Seat]:
        return [worker.seat(at) for worker in self.workers]

    def _waiting(self) -> list[WaitingBatch]:
        return [
            WaitingBatch(min(work.priority for work in batch.works), time(min(work.at for work in batch.works)))
            for batch in self.common
        ]


@st.composite
def works(draw: st.DrawFn) -> list[Work]:
    """Some hours of work for a few engines, in spells that are busy and others that are not."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 3000),
                st.sampled_from("abcde"),
                st.sampled_from([10, 20, 20, 30]),
                st.sampled_from([5.0, 20.0, 100.0, 400.0, 2000.0]),
                st.sampled_from([True, True, True, False]),
            ),
            min_size=1,
            max_size=40,
        )
    )
    return [Work(number, *each) for number, each in enumerate(drawn)]


def after(sent: Sent, late: Work) -> list[Work]:
    """What of a batch goes after a reproduction that waits."""
    return [work for work in sent.works if work.turn > late.turn]


def late_ones(sent: Sent) -> Iterable[Work]:
    return [work for work in sent.left if is_late(time(work.at), time(sent.at), RULES)]


@given(works(), st.integers(1, 4))
def test_nothing_is_sent_past_what_waited_too_long_and_no_worker_idles_beside_work(
    works: list[Work], workers: int
) -> None:
    farm = Farm([Worker(f"w{number}") for number in range(workers)])
    farm.run(works)
    assert farm.begun.keys() == {work.number for work in works}
    for sent in farm.sent:
        for late in late_ones(sent):
            assert after(sent, late) == []


@given(works(), st.integers(1, 4))
def test_what_goes_along_costs_those_who_wait_no_more_than_a_part_of_a_load(works: list[Work], workers: int) -> None:
    farm = Farm([Worker(f"w{number}") for number in range(workers)])
    farm.run(works)
    for sent in farm.sent:
        if any(work.engine != sent.assignment.engine for work in sent.waiting):
            first, *along = sent.works
            assert sum(work.seconds for work in along) <= ALONG * LOAD
            assert all(work.is_known for work in along)
            assert all(
                work.priority <= min(other.priority for other in sent.waiting if other.engine != first.engine)
                for work in along
            )


@given(works(), st.integers(1, 4))
def test_nobody_goes_along_past_a_more_urgent_one_of_any_engine(works: list[Work], workers: int) -> None:
    farm = Farm([Worker(f"w{number}") for number in range(workers)])
    farm.run(works)
    for sent in farm.sent:
        others = [work for work in sent.waiting if work not in sent.works]
        assert all(work.priority <= other.priority for work in sent.works[1:] for other in others)


@given(works(), st.integers(1, 4))
def test_once_it_waited_too_long_only_what_was_sent_before_goes_before_an_older_one(
    works: list[Work], workers: int
) -> None:
    farm = Farm([Worker(f"w{number}") for number in range(workers)])
    farm.run(works)
    for late in works:
        since = late.at + RULES.hold_back_seconds
        past = [
            sent
            for sent in farm.sent
            if after(sent, late) and since < farm.begun[sent.works[0].number] < farm.begun[late.number]
        ]
        assert len(past) <= OWN_AHEAD * workers + COMMON_AHEAD
