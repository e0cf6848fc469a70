"""One piece of work for all who wait for it at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from scheduler.collect.group_commit import GroupCommit
from specs.processes.log_lines import _fields, about
from tests.support.waiting import until


class Doubling:
    """Doubles numbers, and fails for negative ones; the first piece of work waits until it may go on."""

    def __init__(self) -> None:
        self.pieces: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.commit = GroupCommit(self._work)

    def _work(self, numbers: Sequence[int]) -> list[int]:
        self.pieces.append(list(numbers))
        self.begun.set()
        assert self.go_on.wait(60)
        if any(number < 0 for number in numbers):
            raise ValueError(f"negative among {list(numbers)}")
        return [2 * number for number in numbers]

    def ask_behind_the_first(self, threads: ThreadPoolExecutor, numbers: Sequence[int]) -> list[Future[int]]:
        """Ask for 1, and while that is under way for `numbers`."""
        first = threads.submit(self.commit, 1)
        assert self.begun.wait(60)
        others = [threads.submit(self.commit, number) for number in numbers]
        until(lambda: len(self.commit._waiting) == len(numbers))
        self.go_on.set()
        return [first, *others]


def test_whoever_comes_alone_waits_for_nobody() -> None:
    work = Doubling()
    work.go_on.set()
    assert work.commit(3) == 6
    assert work.commit(4) == 8
    assert work.pieces == [[3], [4]]


def test_all_who_come_during_a_piece_of_work_share_the_next_and_each_has_its_own_result() -> None:
    work = Doubling()
    with ThreadPoolExecutor(5) as threads:
        asked = work.ask_behind_the_first(threads, [2, 3, 4, 5])
        assert [each.result(60) for each in asked] == [2, 4, 6, 8, 10]
    assert [sorted(piece) for piece in work.pieces] == [[1], [2, 3, 4, 5]]


def test_what_fails_together_is_done_one_by_one_and_fails_only_whose_it_is() -> None:
    work = Doubling()
    with ThreadPoolExecutor(4) as threads:
        one, two, bad, four = work.ask_behind_the_first(threads, [2, -3, 4])
        assert (one.result(60), two.result(60), four.result(60)) == (2, 4, 8)
        with pytest.raises(ValueError, match=r"negative among \[-3\]"):
            bad.result(60)


def test_what_is_logged_of_all_has_the_fields_of_none() -> None:
    commit: GroupCommit[int, dict[str, str | int]] = GroupCommit(lambda items: [_fields() for _ in items])
    with about(attempt=7):
        assert commit(1) == {}
