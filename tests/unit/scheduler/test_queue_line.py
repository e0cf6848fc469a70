"""A place in a pool's queue, from what is kept of that queue."""

from __future__ import annotations

from array import array
from datetime import timedelta

from scheduler.api.queue import BEGINNING, Line
from scheduler.database.tables import Reproduction
from scheduler.state_machine import ReproductionState

LINE = Line(dispatched={20: array("q", [5, 6])}, queued={10: array("q", [7]), 20: array("q", [1, 3, 9])}, trouble=None)


def place(microseconds: int, priority: int = 20, state: ReproductionState = ReproductionState.QUEUED) -> int:
    made = BEGINNING + timedelta(microseconds=microseconds)
    return LINE.position(Reproduction(state=state, priority=priority, created_at=made, pool="large"))


def test_what_is_with_the_broker_goes_first_then_what_is_urgent_then_what_is_old() -> None:
    assert [place(each, state=ReproductionState.DISPATCHED) for each in (5, 6)] == [1, 2]
    assert place(7, priority=10) == 3
    assert [place(each) for each in (1, 3, 9)] == [4, 5, 6]


def test_one_that_came_since_the_queue_was_walked_has_a_place_too() -> None:
    assert place(4) == 6
    assert place(99) == 7
    assert place(99, priority=40) == 7
