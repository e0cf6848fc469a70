"""Which batch goes where: urgency, engines that are loaded, and how long that may hold others back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch.assignment import (
    COMMON_AHEAD,
    MOST_AHEAD,
    Assignment,
    Group,
    Seat,
    Turn,
    WaitingBatch,
    assign,
    common_room,
    free_in,
)
from specs.policy.run import RunRules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = RunRules(hold_back_seconds=900)
LATE = 901
LOAD = 60.0


def group(engine: str, waited: float = 60, count: int = 1, priority: int = 20, longest: float | None = None) -> Group:
    return Group(engine, priority, NOW - timedelta(seconds=waited), count, LOAD, longest)


def busy(name: str, loaded: str | None, ahead: int = 0, asleep: Iterable[str] = (), free: float | None = 0.0) -> Seat:
    return Seat(name, idle=False, ahead=ahead, loaded=loaded, asleep=frozenset(asleep), free_in=free)


def idle(name: str, loaded: str | None = None, asleep: Iterable[str] = (), idle_for: float = 0) -> Seat:
    since = NOW - timedelta(seconds=idle_for)
    return Seat(name, idle=True, ahead=0, loaded=loaded, asleep=frozenset(asleep), idle_since=since)


def waiting(waited: float = 60, priority: int = 20) -> WaitingBatch:
    return WaitingBatch(priority, NOW - timedelta(seconds=waited))


def assignments(
    groups: Sequence[Group], seats: Sequence[Seat] = (), common: Sequence[WaitingBatch] = ()
) -> list[Assignment]:
    return list(assign(groups, seats, common, NOW, RULES))


def placed(
    groups: Sequence[Group], seats: Sequence[Seat] = (), common: Sequence[WaitingBatch] = ()
) -> list[tuple[str, str | None]]:
    """Engine and worker of each batch."""
    return [(each.engine, each.seat) for each in assignments(groups, seats, common)]


def test_where_no_worker_is_known_the_common_queue_takes_a_few() -> None:
    found = placed([group("a", 30), group("b", 20), group("c", 10)])
    assert found == [("a", None), ("b", None)]
    assert len(found) == COMMON_AHEAD
    assert placed([group("d")], common=[waiting(), waiting()]) == []


@pytest.mark.parametrize(
    ("ended", "room"), [(0, COMMON_AHEAD), (COMMON_AHEAD, COMMON_AHEAD), (7, 7), (10_000, MOST_AHEAD)]
)
def test_a_pool_that_is_through_with_its_batches_at_once_has_as_many_waiting(ended: int, room: int) -> None:
    assert common_room(ended) == room
    queued = [group(f"engine{number}", longest=5) for number in range(MOST_AHEAD + 1)]
    assert len(assign(queued, [], [waiting()], NOW, RULES, common_room(ended))) == room - 1


@pytest.mark.parametrize("longest", [500, None])
@pytest.mark.parametrize("seats", [[], [busy("w1", "other")]])
def test_what_takes_long_waits_for_its_turn_and_no_short_one_is_sent_past_it(
    longest: float | None, seats: list[Seat]
) -> None:
    queued = [group("short", 40, longest=5), group("long", 30, longest=longest), group("late", 20, longest=5)]
    found = assign(queued, seats, [waiting(), waiting()], NOW, RULES, room=10)
    assert [each.engine for each in found] == ["short"]


def test_a_loaded_engine_gets_its_next_batch_before_an_older_one_that_has_none() -> None:
    found = placed([group("cold", 600), group("warm", 10)], [busy("w1", "warm")])
    assert found == [("warm", "w1"), ("cold", None)]


def test_one_batch_at_most_waits_for_a_worker() -> None:
    assert placed([group("warm")], [busy("w1", "warm", ahead=1)]) == [("warm", None)]


def test_what_waited_too_long_goes_before_what_is_loaded() -> None:
    found = placed([group("late", LATE), group("warm", 10)], [busy("w1", "warm")])
    # The late one takes the next worker that is free, and until one is, no worker is fed past it.
    assert found == [("late", None), ("warm", None)]
    assert placed([group("warm", 10)], [busy("w1", "warm")], [waiting(LATE)]) == [("warm", None)]


def test_what_is_older_still_is_not_held_back_by_what_waited_too_long() -> None:
    found = placed([group("older", LATE + 60)], [busy("w1", "older")], [waiting(LATE)])
    assert found == [("older", "w1")]


def test_a_more_urgent_class_goes_first_whatever_is_loaded() -> None:
    found = placed([group("warm", LATE, priority=20), group("urgent", 1, priority=10)], [idle("w1", "warm")])
    assert found[0] == ("urgent", "w1")
    common = [waiting(priority=10), waiting(priority=10)]
    assert placed([group("warm", priority=20)], [busy("w1", "warm")], common) == []


def test_what_found_no_place_keeps_less_urgent_ones_from_the_workers() -> None:
    full = [waiting(priority=20), waiting(priority=20)]
    seats = [busy("w1", "warm")]
    assert placed([group("cold", priority=10), group("warm", priority=20)], seats, full) == []
    assert placed([group("cold", LATE), group("warm", 10)], seats, full) == []
    # Of the same class, and not for too long yet: the loaded engine works on.
    assert placed([group("cold", 600), group("warm", 10)], seats, full) == [("warm", "w1")]


def test_idle_workers_are_used_before_anybody_waits_for_a_busy_one() -> None:
    assert placed([group("a")], [busy("w1", "a"), idle("w2", "b")]) == [("a", "w2")]
    assert placed([group("a")], [idle("w1", "a"), idle("w2")]) == [("a", "w1")]


def test_a_worker_that_has_an_engine_asleep_counts_as_warm() -> None:
    found = placed([group("cold", 600), group("a", 10)], [busy("w1", "b", asleep=["a"]), busy("w2", "c")])
    assert found == [("a", "w1"), ("cold", None)]
    # Loaded is better than asleep.
    assert placed([group("a")], [idle("w1", "b", asleep=["a"]), idle("w2", "a")]) == [("a", "w2")]


def test_what_has_to_be_loaded_goes_where_it_displaces_the_least() -> None:
    seats = [idle("w1", "wanted"), idle("w2", "unwanted"), idle("w3"), idle("w4", "wanted")]
    found = placed([group("a", LATE), group("b", LATE), group("wanted", 10)], seats)
    assert found == [("a", "w3"), ("b", "w2"), ("wanted", "w1")]


def test_of_idle_workers_the_one_that_was_used_longest_ago_loads_another_engine() -> None:
    seats = [idle("w1", "x", idle_for=10), idle("w2", "y", idle_for=500), idle("w3", "z", idle_for=20)]
    assert placed([group("a")], seats) == [("a", "w2")]


def test_what_a_batch_may_leave_behind_is_not_passed_over_in_the_same_round() -> None:
    seats = [idle("w1"), idle("w2")]
    assert placed([group("a", LATE + 9, count=2), group("b", LATE)], seats) == [("a", "w1")]
    assert placed([group("a", count=2), group("b", priority=30)], seats) == [("a", "w1")]
    assert placed([group("a", priority=10), group("a"), group("b", priority=30)], seats) == [("a", "w1")]
    assert placed([group("a", LATE + 9), group("b", LATE)], seats) == [("a", "w1"), ("b", "w2")]


def test_nobody_waits_for_a_busy_worker_for_longer_than_a_load_takes() -> None:
    full = [waiting(), waiting()]
    assert placed([group("a")], [busy("w1", "a", free=LOAD)], full) == [("a", "w1")]
    assert placed([group("a")], [busy("w1", "a", free=LOAD + 1)], full) == []
    assert placed([group("a")], [busy("w1", "a", free=None)], full) == []


@pytest.mark.parametrize(
    ("expected", "elapsed", "left"), [(100, 0, 100), (100, 99, 1), (100, 120, 0), (100, 150, 0), (100, 151, None)]
)
def test_what_takes_much_longer_than_expected_is_over_nobody_knows_when(
    expected: float, elapsed: float, left: float | None
) -> None:
    assert free_in(expected, elapsed) == left


def test_what_goes_along_is_told_who_else_waits_and_whether_a_worker_is_left() -> None:
    (alone,) = assignments([group("a")], [idle("w1")])
    assert (alone.limit, alone.spare) == (None, False)
    (alone,) = assignments([group("a")], [idle("w1", "a")])
    assert not alone.spare
    (alone,) = assignments([group("a")], [idle("w1"), idle("w2")])
    assert (alone.limit, alone.spare) == (None, True)
    found, other = assignments([group("a", 90), group("b", 80)], [idle("w1")])
    assert (found.seat, other.seat) == ("w1", None)
    assert found.limit == Turn(20, datetime.max.replace(tzinfo=UTC)), "of its class, and not for too long yet"
    assert other.limit is None, "nobody waits but itself"
    (found,) = assignments([group("a", priority=30)], common=[waiting(LATE, priority=20)])
    assert found.limit == Turn(20, NOW - timedelta(seconds=LATE))


def test_what_is_in_a_batch_with_a_worker_of_its_own_keeps_nobody_from_going_along_elsewhere() -> None:
    """A round has one batch for an engine: of several classes, what waits on is the less urgent ones."""
    seats = [idle("w1"), idle("w2"), idle("w3")]
    urgent, behind, other = group("a", priority=10), group("a", 90, priority=20), group("b", priority=20)
    found = {each.engine: each for each in assignments([urgent, behind, other], seats)}
    assert found["b"].limit == Turn(20, datetime.max.replace(tzinfo=UTC))
    assert found["a"].limit is None
    one, two = assignments([group("a", 90, count=2), group("b", 80)], seats)
    assert (one.limit, two.limit) == (None, Turn(20, datetime.max.replace(tzinfo=UTC))), "of `a` one may stay behind"
    found = {each.engine: each for each in assignments([group("a", priority=10, count=2), other], seats)}
    assert found.keys() == {"a"}, "what may be left of the more urgent ones is placed before others"


def test_idle_workers_are_left_to_what_waits_in_the_common_queue() -> None:
    assert placed([group("a")], [idle("w1")], [waiting()]) == [("a", None)]
    assert placed([group("a")], [idle("w1", "a"), idle("w2")], [waiting()]) == [("a", "w1")]


ENGINES = st.sampled_from("abcdef")
GROUPS = st.lists(
    st.builds(
        group, ENGINES, waited=st.integers(0, 2000), count=st.integers(1, 9), priority=st.sampled_from([10, 20, 30])
    ),
    max_size=12,
    unique_by=lambda each: (each.engine, each.priority),
)
SEATS = st.lists(
    st.builds(
        Seat,
        name=st.sampled_from("stuvwxyz"),
        idle=st.booleans(),
        ahead=st.integers(0, 1),
        loaded=st.none() | ENGINES,
        asleep=st.frozensets(ENGINES, max_size=2),
        free_in=st.none() | st.sampled_from([0.0, LOAD, 10 * LOAD]),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)
COMMON = st.lists(
    st.builds(waiting, waited=st.integers(0, 2000), priority=st.sampled_from([10, 20, 30])), max_size=COMMON_AHEAD
)


@given(GROUPS, SEATS, COMMON)
def test_whatever_is_there_no_place_is_used_twice_and_nobody_late_is_passed_over(
    groups: list[Group], seats: list[Seat], common: list[WaitingBatch]
) -> None:
    found = assignments(groups, seats, common)
    named = [each.seat for each in found if each.seat is not None]
    assert len(named) == len(set(named))
    assert set(named) <= {seat.name for seat in seats if seat.ahead == 0}
    assert len(found) - len(named) <= COMMON_AHEAD - len(common)
    engines = [each.engine for each in found]
    assert len(engines) == len(set(engines))
    left = [each for each in groups if each.engine not in engines]
    for passed_over in left:
        if NOW - passed_over.since <= timedelta(seconds=RULES.hold_back_seconds):
            continue
        for each in found:
            urgent = min((g.priority, g.since) for g in groups if g.engine == each.engine)
            assert urgent <= (passed_over.priority, passed_over.since)
