"""How the requests in flight are bounded, and shared among the runs of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.batches.flow_control import FlowControl, first_limit, next_limit, shares
from workers.engines.engine_metrics import EngineFigures
from workers.runs.limit_file import read_limit
from workers.runs.run_request import RunProgress


def says(waiting: float | None) -> EngineFigures:
    return EngineFigures(generated=1.0, waiting=waiting)


@pytest.mark.parametrize(
    ("limit", "before", "now", "wanted"),
    [
        (40, says(0), says(0), 40),
        (40, says(0), says(15), 40),
        (40, says(8), says(8), 40),
        (40, says(20), says(18), 30),
        (3, says(20), says(18), 1),
        (20, says(3), says(0), 22),
        (20, says(11), says(7), 22),
        (20, says(7), says(8), 20),
        (39, says(0), says(0), 40),
        (20, None, says(17), 20),
        (20, says(17), None, 20),
        (20, says(17), says(None), 20),
    ],
)
def test_the_limit_keeps_a_quarter_of_what_the_engine_runs_waiting_there(
    limit: int, before: EngineFigures | None, now: EngineFigures | None, wanted: int
) -> None:
    assert next_limit(limit, 32, before, now) == wanted


def test_an_engine_that_runs_one_at_a_time_is_asked_one_at_a_time() -> None:
    assert first_limit(1) == 1
    assert [next_limit(1, 1, says(0), says(waiting)) for waiting in (0, 1, None)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("limit", "left", "wanted"),
    [
        (32, [], []),
        (32, [100], [32]),
        (32, [1], [32]),
        (32, [None, None], [16, 16]),
        (32, [100, 100], [16, 16]),
        (32, [3, 100], [3, 29]),
        (33, [100, 100, 100], [11, 11, 11]),
        (32, [0, 100], [1, 31]),
        (1, [100, 100], [1, 1]),
    ],
)
def test_runs_share_alike_but_the_end_of_one_is_filled_by_another(
    limit: int, left: list[int | None], wanted: list[int]
) -> None:
    assert shares(limit, left) == wanted


@given(st.integers(1, 300), st.lists(st.none() | st.integers(0, 500), min_size=1, max_size=8))
def test_all_is_given_and_not_more(limit: int, left: list[int | None]) -> None:
    found = shares(limit, left)
    assert min(found) >= 1
    if limit >= len(left):
        assert sum(found) == limit


def test_each_run_is_told_its_share_and_pays_for_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    flow = FlowControl(10)
    nobody = "http://127.0.0.1:9/v1"
    with flow.joined(one) as alone:
        assert (alone, read_limit(one)) == (12, 12)
        assert flow.engine_share(one) == 1.0
        with flow.joined(two) as beside:
            assert (beside, read_limit(one)) == (6, 6)
            flow.told(one, RunProgress(done=18, total=20, left=2, score=None), nobody)
            assert (read_limit(one), read_limit(two)) == (2, 10)
        assert read_limit(one) == 12
        assert 0.5 <= flow.engine_share(one) < 1.0
