"""Scores are taken strictly; what each scorer says of an answer it cannot read is asked of Inspect's own scorers."""

from __future__ import annotations

import asyncio
from math import isnan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.log import EvalSample
from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.model._model_output import as_stop_reason
from inspect_ai.scorer import Score, Target, answer, choice, exact, f1, includes, match, math, pattern, value_to_float
from inspect_ai.solver import TaskState

from specs.logs.scoring import answer_value, first_score, is_truncated, is_unparsed, proportion, reduced, reducer_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", 1.0),
        ("I", 0.0),
        ("P", 0.5),
        ("N", 0.0),
        (True, 1.0),
        (False, 0.0),
        (1, 1.0),
        (0, 0.0),
        (0.25, 0.25),
        (float("nan"), None),
        (float("inf"), None),
        (-0.1, None),
        (1.1, None),
        (100, None),
        (10**400, None),
        ("yes", 1.0),
        ("No", 0.0),
        ("TRUE", 1.0),
        ("false", 0.0),
        ("0.5", 0.5),
        ("8", None),
        ("nan", None),
        ("c", None),
        ("correct", None),
        ("", None),
        ([1.0], None),
        ({"a": 1.0}, None),
    ],
)
def test_only_what_is_a_proportion_becomes_one(value: Any, expected: float | None) -> None:
    assert proportion(Score(value=value)) == expected


def test_no_score_is_no_zero() -> None:
    assert proportion(None) is None


@pytest.mark.parametrize(
    ("scores", "reducer", "expected"),
    [
        ([1.0, 0.0], "mean", 0.5),
        ([1.0, 0.0, 0.0], "median", 0.0),
        ([1.0, 0.0, 0.0], "mode", 0.0),
        ([1.0, 0.0], "max", 1.0),
        ([1.0, 0.0, 1.0, 0.0], "pass_at_1", 0.5),
        ([0.0, 0.0, 1.0], "at_least_1", 1.0),
        ([1.0, None], "mean", None),
        ([1.0, None], "max", None),
        ([], "mean", None),
    ],
)
def test_epochs_are_reduced_as_inspect_does_and_only_when_all_are_there(
    scores: list[float | None], reducer: str, expected: float | None
) -> None:
    assert reduced(scores, reducer) == expected


@settings(max_examples=200)
@given(
    values=st.lists(st.sampled_from(["C", "I", "P", "N", "yes", "no", "0.5", 0.0, 0.25, 1.0]), min_size=1, max_size=6),
    reducer=st.sampled_from(["mean", "median", "mode", "max", "at_least_1", "at_least_2", "pass_at_1", "pass_at_2"]),
)
def test_what_a_scorer_says_in_epochs_is_reduced_as_inspect_alone_does(values: list[str | float], reducer: str) -> None:
    # What `eval_results` of Inspect does: it reduces the scores as they are, and its `accuracy` makes numbers of them.
    theirs = value_to_float()(reducer_of(reducer)([Score(value=each) for each in values]).value)
    samples = [_sample("stop", Score(value=each)) for each in values]
    assert reduced([answer_value(each, "s") for each in samples], reducer) == (None if isnan(theirs) else theirs)


def test_no_answer_and_a_wrong_one_are_two_things_to_the_mode() -> None:
    assert reduced(["N", "I", "C", "C"], "mode") == 1.0
    assert reduced(["I", "I", "C", "C"], "mode") == 0.0


def _ask(scorer: Any, completion: str, target: str = "A", choices: list[str] | None = None) -> Score:
    state = TaskState(
        model=ModelName("vllm/m"),
        sample_id=1,
        epoch=1,
        input="q",
        messages=[],
        choices=choices,
        output=ModelOutput.from_content("m", completion),
    )
    score = asyncio.run(scorer(state, Target(target)))
    assert isinstance(score, Score)
    return score


@pytest.mark.parametrize(
    ("scorer", "unreadable", "readable", "target"),
    [
        (answer("letter"), "I think A", "ANSWER: B", "A"),
        (pattern(r"is (\d+)"), "seven", "it is 8", "7"),
        (match(numeric=True), "no number here", "it is 8", "7"),
        (math(), "", "\\boxed{8}", "7"),
    ],
    ids=["answer", "pattern", "match numeric", "math"],
)
def test_a_scorer_with_a_form_tells_unreadable_from_wrong(
    scorer: Any, unreadable: str, readable: str, target: str
) -> None:
    assert is_unparsed(_ask(scorer, unreadable, target))
    assert not is_unparsed(_ask(scorer, readable, target))


def test_a_choice_that_was_not_made_is_unparsed() -> None:
    assert is_unparsed(_ask(choice(), "dunno", choices=["x", "y"]))
    assert is_unparsed(_ask(choice(), "", choices=["x", "y"]))


@pytest.mark.parametrize("scorer", [includes(), exact(), f1(), match()], ids=["includes", "exact", "f1", "match"])
def test_a_scorer_without_a_form_misses_only_an_empty_answer(scorer: Any) -> None:
    assert is_unparsed(_ask(scorer, ""))
    assert not is_unparsed(_ask(scorer, "something else"))


def test_a_judge_without_a_verdict_leaves_no_score_and_is_not_the_models_fault() -> None:
    score = Score.unscored(reason="grader_failed", answer="an answer")
    assert proportion(score) is None
    assert not is_unparsed(score)


def test_an_answer_over_which_math_runs_out_of_time_has_no_score_in_a_run_of_ours() -> None:
    score = _ask(math(timeout=1e-9), "\\boxed{8}", "8")
    assert proportion(score) == 0.0, "what Inspect makes of it"
    assert not is_unparsed(score)
    assert first_score(_sample("stop", score)) is None
    assert answer_value(_sample("stop", score), "s", own=False) == "I"
    assert first_score(_sample("stop", _ask(math(), "\\boxed{8}", "8"))) == 1.0


def _sample(stop_reason: Any, score: Score | None = None) -> EvalSample:
    output = ModelOutput.from_content("m", "text", stop_reason=stop_reason)
    return EvalSample(id=1, epoch=1, input="q", target="a", output=output, scores={"s": score} if score else None)


def test_a_cut_off_answer_is_truncated_and_counts_as_the_scorer_says() -> None:
    sample = _sample("max_tokens", Score(value="I"))
    assert is_truncated(sample)
    assert first_score(sample) == 0.0


def test_a_prompt_that_the_engine_refused_has_no_score() -> None:
    assert first_score(_sample("model_length", Score(value="I"))) is None


def test_an_answer_that_vllm_broke_off_has_no_score_and_one_of_another_engine_has() -> None:
    assert as_stop_reason("abort") == "unknown", "what Inspect makes of vLLM's word"
    assert first_score(_sample("unknown", Score(value="I"))) is None
    assert answer_value(_sample("unknown", Score(value="C")), "s", own=False) == "C"


def test_a_sample_without_output_is_neither_truncated_nor_scored() -> None:
    sample = EvalSample(id=1, epoch=1, input="q", target="a")
    assert not is_truncated(sample)
    assert first_score(sample) is None
