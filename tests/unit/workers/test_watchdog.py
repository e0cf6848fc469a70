"""A scorer that computes without end is noticed; one that is merely busy is not."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, ChatMessageUser, ModelName, ModelOutput
from inspect_ai.scorer import Target, answer, pattern
from inspect_ai.solver import TaskState, multiple_choice

from specs.messages import AttemptOutcome
from workers.runs.watchdog import Watchdog

ENDLESS, ANSWER = "(a+)+$", "a" * 40 + "!"


class _Stuck(Exception):  # noqa: N818 - what the test is told
    pass


def _tell(outcome: AttemptOutcome, words: str) -> None:
    raise _Stuck(outcome, words)


def _state(text: str) -> TaskState:
    asked: list[ChatMessage] = [ChatMessageUser(content="?")]
    said = ModelOutput.from_content("none", text)
    return TaskState(ModelName("none/none"), 1, 1, "?", asked, choices=["x", "y"], output=said)


def _score(text: str, expression: str) -> Any:
    async def once() -> Any:
        return await pattern(expression)(_state(text), Target("a"))

    return asyncio.run(once())


def test_a_scorer_that_never_ends_is_interrupted_and_named() -> None:
    with pytest.raises(_Stuck) as stuck, Watchdog(1.0, _tell).watching():
        _score(ANSWER, ENDLESS)
    outcome, words = stuck.value.args
    assert outcome is AttemptOutcome.SPEC_FAILED
    assert words.startswith(
        "the scorer pattern did not end on one answer within 1 s of computing: most likely a regular"
    )


async def _choose(said: str) -> None:
    async def answered(state: TaskState, tool_calls: Any = "loop", **_: Any) -> TaskState:
        return state

    await multiple_choice()(_state(said), answered)


async def _read_line(said: str) -> None:
    await answer("line")(_state(said), Target("a"))


@pytest.mark.parametrize(
    ("read", "named", "end"),
    [(_choose, "solver multiple_choice", "!"), (_read_line, "scorer answer", "!\nSo it is.")],
    ids=["multiple_choice", "answer"],
)
def test_an_answer_that_keeps_inspects_own_reader_busy_is_not_the_specs_failure(
    read: Callable[[str], Coroutine[Any, Any, None]], named: str, end: str
) -> None:
    with pytest.raises(_Stuck) as stuck, Watchdog(1.0, _tell).watching():
        asyncio.run(read(f"ANSWER:{' ' * 3000}{end}"))
    outcome, words = stuck.value.args
    assert outcome is AttemptOutcome.MODEL_FAILED
    assert words.startswith(f"the {named} did not end on one answer within 1 s of computing: this model")


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
