"""One run for all who ask while another is at it."""

from __future__ import annotations

import threading

import pytest

from scheduler.dispatch.coalesced import Coalesced


def test_it_runs_at_once_for_whoever_asks_alone() -> None:
    runs: list[int] = []
    work = Coalesced(lambda: runs.append(1))
    work()
    work()
    assert len(runs) == 2


def test_many_who_ask_during_a_run_share_one_that_begins_after_they_asked() -> None:
    begun, go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def slow() -> None:
        runs.append(1)
        begun.set()
        assert go_on.wait(60)

    work = Coalesced(slow)
    first = threading.Thread(target=work)
    first.start()
    assert begun.wait(60)
    for _ in range(5):
        # Returns at once: the first thread will see to it.
        work()
    assert len(runs) == 1
    go_on.set()
    first.join(60)
    assert len(runs) == 2


def test_a_failure_is_the_callers_and_the_next_who_asks_runs_it_again() -> None:
    runs: list[int] = []

    def fail_once() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise OSError("the broker is away")

    work = Coalesced(fail_once)
    with pytest.raises(OSError, match="away"):
        work()
    work()
    assert len(runs) == 2
