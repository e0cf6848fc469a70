"""What travels along in a batch: as much as costs nobody more than a part of the load that it spares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.dispatch.assignment import Assignment, Turn
from scheduler.dispatch.batching import ALONG, Queued, batches_of, fill_batch, most_room
from specs.policy.run import RunRules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = RunRules(batch=4, hold_back_seconds=300, side_by_side=2)
LOAD = 100.0
ROOM = ALONG * LOAD
LATE = 301
LAST = datetime.max.replace(tzinfo=UTC)


def run(seconds: float | None, waited: float = 60, priority: int = 20) -> Queued:
    turn = Turn(priority, NOW - timedelta(seconds=waited))
    return Queued(f"{priority}, {waited} s ago, {seconds} s", turn, seconds)


def assignment(limit: Turn | None = None, *, spare: bool = True) -> Assignment:
    return Assignment("a", "w1", LOAD, limit, spare)


def chosen(queued: Sequence[Queued], placed: Assignment) -> list[float | None]:
    return [each.seconds for each in fill_batch(queued, placed, NOW, RULES)]


def test_short_ones_travel_together_while_a_worker_is_idle() -> None:
    assert chosen([run(20), run(20), run(10)], assignment()) == [20, 20, 10]
    assert chosen([run(20), run(20), run(ROOM)], assignment()) == [20, 20, ROOM]


def test_a_long_one_has_short_ones_beside_it_and_no_second_long_one() -> None:
    assert chosen([run(5000), run(4000), run(30), run(30), run(20)], assignment()) == [5000, 30, 20]
    assert chosen([run(30), run(5000)], assignment()) == [30, 5000]


def test_there_are_no_more_than_policy_allows() -> None:
    assert len(chosen([run(1)] * 9, assignment())) == 4


def test_while_others_wait_nothing_adds_more_than_that_to_the_first() -> None:
    others = Turn(20, LAST)
    assert chosen([run(30), run(5000), run(ROOM)], assignment(others)) == [30, ROOM]
    assert chosen([run(5000), run(40), run(40)], assignment(others)) == [5000, 40]


def test_nobody_goes_along_past_somebody_more_urgent() -> None:
    mixed = [run(10), run(10, priority=30)]
    assert chosen(mixed, assignment(Turn(20, LAST))) == [10]
    assert chosen(mixed, assignment(Turn(30, LAST))) == [10, 10]


def test_nobody_goes_along_past_one_that_waited_too_long() -> None:
    late = Turn(20, NOW - timedelta(seconds=LATE))
    assert chosen([run(10, LATE + 9), run(11, LATE + 1), run(12, 60)], assignment(late)) == [10, 11]
    assert chosen([run(10, LATE + 9), run(11, LATE)], assignment(late)) == [10, 11], (
        "none of the two is after the other"
    )
    # The first goes, whoever waits: that it may was decided before.
    assert chosen([run(10, 60), run(11, 50)], assignment(late)) == [10]


def test_nobody_goes_along_past_one_of_the_same_engine_that_waited_too_long_and_does_not_fit() -> None:
    assert chosen([run(900, LATE + 9), run(800, LATE), run(10)], assignment()) == [900]
    assert chosen([run(900, LATE + 9), run(800, 60), run(10)], assignment()) == [900, 10]


def test_nobody_goes_along_past_a_more_urgent_one_of_the_same_engine_that_does_not_fit() -> None:
    assert chosen([run(900), run(800), run(10, priority=30)], assignment()) == [900]
    assert chosen([run(900), run(800), run(11), run(10, priority=30)], assignment()) == [900, 11]
    assert chosen([run(900), run(20), run(10, priority=30)], assignment()) == [900, 20, 10]


def test_where_there_is_nothing_else_to_do_the_engine_is_kept_full() -> None:
    nothing_else = assignment(spare=False)
    assert chosen([run(5000), run(4000), run(3000)], nothing_else) == [5000, 4000]
    assert chosen([run(5000), run(100), run(100), run(90)], nothing_else) == [5000, 100, 100, 90]
    assert chosen([run(5000), run(200), run(101), run(90)], nothing_else) == [5000, 200, 90]
    slow_to_load = Assignment("a", "w1", 1000, None, spare=False)
    assert chosen([run(5000), run(200), run(300), run(1)], slow_to_load) == [5000, 200, 300]


@pytest.mark.parametrize(("spare", "together"), [(True, [None]), (False, [None, None])])
def test_what_takes_nobody_knows_how_long_goes_along_only_to_keep_the_engine_full(
    spare: bool, together: list[float | None]
) -> None:
    assert chosen([run(None), run(None), run(None)], assignment(spare=spare)) == together
    assert chosen([run(None), run(10)], assignment()) == [None, 10]
    assert chosen([run(None), run(ROOM + 1)], assignment()) == [None], "it may be the longer one"
    assert chosen([run(10), run(None)], assignment()) == [10]


@pytest.mark.parametrize(
    "seconds",
    [
        [5000] * 9,
        [40] * 18,
        [1] * 9,
        [None] * 5,
        [5000, 5000, None],
        [30],
        [5000, *[10] * 5],
        [5000, 5000, 100, 100, 100],
    ],
)
def test_as_many_batches_are_counted_as_are_filled_where_nobody_else_waits(seconds: list[float | None]) -> None:
    waiting, filled = [run(each) for each in seconds], 0
    while waiting:
        # A long one has a worker of its own while one is idle; what is short or unknown fills a batch where none is.
        spare = waiting[0].seconds is not None and waiting[0].seconds > RULES.hold_back_seconds
        taken = fill_batch(waiting, assignment(spare=spare), NOW, RULES)
        waiting = waiting[len(taken) :]
        filled += 1
    known = [each for each in seconds if each is not None]
    in_all = sum(min(each, most_room(LOAD, RULES)) for each in known)
    assert batches_of(len(known), in_all, len(seconds) - len(known), LOAD, RULES) == filled


def test_batches_are_counted_where_none_may_keep_another_waiting() -> None:
    assert batches_of(4, 4 * ROOM, 0, LOAD, RunRules(hold_back_seconds=0)) == 4
    assert batches_of(4, 4 * ROOM / 4, 0, LOAD, RunRules(hold_back_seconds=0)) == 1
