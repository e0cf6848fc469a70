"""A scorer that computes without end is noticed; one that is merely busy is not."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.scorer import Target, pattern
from inspect_ai.solver import TaskState

from workers.runs.watchdog import Watchdog

ENDLESS, ANSWER = "(a+)+$", "a" * 40 + "!"


class _Stuck(Exception):  # noqa: N818 - what the test is told
    pass


def _tell(words: str) -> None:
    raise _Stuck(words)


def _score(answer: str, expression: str) -> Any:
    state = TaskState(ModelName("none/none"), 1, 1, "", [], output=ModelOutput.from_content("none", answer))

    async def once() -> Any:
        return await pattern(expression)(state, Target("a"))

    return asyncio.run(once())


def test_a_scorer_that_never_ends_is_interrupted_and_named() -> None:
    with (
        pytest.raises(_Stuck, match="the scorer pattern did not end on one answer within 1 s"),
        Watchdog(1.0, _tell).watching(),
    ):
        _score(ANSWER, ENDLESS)


def test_many_answers_that_each_end_are_not_one_that_does_not() -> None:
    with Watchdog(0.6, _tell).watching():
        began = time.thread_time()
        while time.thread_time() - began < 2.5:
            assert _score("the answer is a", r"(a)\b") is not None


def test_what_computes_outside_of_scorers_and_solvers_is_left_alone() -> None:
    with Watchdog(0.6, _tell).watching():
        began = time.thread_time()
        while time.thread_time() - began < 2.0:
            re.search(ENDLESS, "a" * 18 + "!")
