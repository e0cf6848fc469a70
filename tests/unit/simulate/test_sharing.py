"""Runs side by side on one engine: the concurrency is shared, what one leaves is the other's, nothing is gained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.simulate.sharing import Load, Span, spans

CONCURRENCY = 64


def load(answers: float, answer_seconds: float = 10.0) -> Load:
    return Load(answers, answer_seconds)


def ends(*loads: Load, side_by_side: int = 2) -> list[float]:
    return [span.ended for span in spans(loads, side_by_side, CONCURRENCY)]


def test_a_run_by_itself_takes_what_the_farm_reckons_and_the_time_of_an_answer_at_least() -> None:
    assert ends(load(640)) == pytest.approx([100])
    assert ends(load(30)) == pytest.approx([10])


def test_one_after_the_other_the_second_waits_for_the_first() -> None:
    assert spans([load(640), load(64)], 1, CONCURRENCY) == [Span(0, 100), Span(100, 110)]


def test_two_that_are_alike_share_the_engine_and_end_together() -> None:
    assert ends(load(640), load(640)) == pytest.approx([200, 200])


def test_what_a_short_one_leaves_is_the_long_ones() -> None:
    short, long = ends(load(320), load(6400))
    assert short == pytest.approx(100)
    # It had half of the engine for as long, all of it afterwards, and some of it near the other's end.
    assert 1000 < long < 1050


def test_the_third_begins_when_one_of_two_has_ended() -> None:
    first, second, third = spans([load(6400), load(64), load(64)], 2, CONCURRENCY)
    assert (first.began, second.began, third.began) == (0, 0, second.ended)
    assert third.ended < first.ended


LOADS = st.lists(st.builds(Load, st.floats(1, 5000), st.floats(0.5, 100)), min_size=1, max_size=6)


@given(LOADS, st.integers(1, 4))
def test_nothing_is_faster_than_alone_and_all_together_take_no_longer_than_one_after_the_other(
    loads: list[Load], side_by_side: int
) -> None:
    found = spans(loads, side_by_side, CONCURRENCY)
    alone = [spans([each], 1, CONCURRENCY)[0].ended for each in loads]
    assert all(span.ended - span.began >= by_itself - 0.01 for span, by_itself in zip(found, alone, strict=True))
    last = max(span.ended for span in found)
    assert max(alone) - 0.01 <= last
    if side_by_side == 1:
        assert last == pytest.approx(sum(alone))
