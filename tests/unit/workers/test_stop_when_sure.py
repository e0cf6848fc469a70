"""Answers count in the run's order, whatever order they come in; the whole way is in tests/integration/workers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.log import EvalError, EvalSample
from inspect_ai.scorer import Score

from tests.support.stopping import fed, right_or_wrong, rule
from workers.runs.stopping import StopWhenSure

N = 200
IDS = [f"s{place}" for place in range(N)]
RULE = rule(0.9, 0.5, population=N, tolerance=0.2)


def answer(place: int, epoch: int, score: float | None) -> EvalSample:
    """Of one epoch of a sample; one that failed has no score."""
    failed = EvalError(message="the engine failed", traceback="", traceback_ansi="") if score is None else None
    scores = None if score is None else {"exact": Score(value="C" if score else "I")}
    return EvalSample(id=IDS[place], epoch=epoch, input="", target="", scores=scores, error=failed)


def is_wanted(stop: StopWhenSure, place: int) -> bool:
    return asyncio.run(stop.schedule_sample(IDS[place], 1)) is None


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), epochs=st.integers(1, 3))
def test_the_order_in_which_answers_come_changes_nothing(seed: int, epochs: int) -> None:
    scores: list[float | None] = [*right_or_wrong(N, 100, seed)]
    scores[7] = None
    # In windows, as with so many requests in flight: what comes within one is in any order.
    answers = [(place, epoch) for place in range(N) for epoch in range(1, epochs + 1)]
    rng = np.random.default_rng(seed)
    came = [
        answers[start + at]
        for start in range(0, len(answers), 32)
        for at in rng.permutation(len(answers[start : start + 32]))
    ]
    stop = StopWhenSure(RULE, IDS, epochs, "mean")
    for place, epoch in came:
        stop.answered(answer(place, epoch, scores[place]))
    decider = fed(RULE, scores)
    assert stop.counted == decider.seen < N


def test_samples_are_wanted_until_every_claim_has_its_answer() -> None:
    scores = right_or_wrong(N, 100)
    stop = StopWhenSure(RULE, IDS, 1, "mean")
    for place, score in enumerate(scores):
        if not is_wanted(stop, place):
            break
        assert stop.counted is None
        stop.answered(answer(place, 1, score))
    assert stop.counted == place == fed(RULE, scores).seen


def test_nothing_counts_behind_a_sample_that_has_not_come() -> None:
    stop = StopWhenSure(RULE, IDS, 1, "mean")
    for place in range(1, N):
        stop.answered(answer(place, 1, 0.0))
    assert stop.counted is None
    assert is_wanted(stop, 0)
    stop.answered(answer(0, 1, 0.0))
    assert stop.counted == fed(RULE, [0.0] * N).seen


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_sample_that_failed_in_one_epoch_has_no_score(epochs: int) -> None:
    stop = StopWhenSure(rule(0.5, population=3, minimum_samples=1), IDS[:3], epochs, "mean")
    for place in range(3):
        for epoch in range(1, epochs + 1):
            stop.answered(answer(place, epoch, None if (place, epoch) == (1, 2) else 1.0))
    assert stop.counted == 3, "all were seen, and too many failed to decide"


def test_no_answer_and_a_wrong_one_are_two_things_to_the_mode_while_it_runs_too() -> None:
    stop = StopWhenSure(RULE, IDS, 4, "mode")
    for place in range(N):
        for epoch, said in enumerate("NICC", start=1):
            score = Score(value=said)
            sample = EvalSample(id=IDS[place], epoch=epoch, input="", target="", scores={"choice": score})
            stop.answered(sample)
    assert stop.counted == fed(RULE, [1.0] * N).seen
