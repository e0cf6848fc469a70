"""Thoughts that only their end marks: where Inspect's scorers take something of them for the answer."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec
from inspect_ai.log._log import EvalScorer
from inspect_ai.model import ModelOutput
from inspect_ai.scorer._common import match_str
from inspect_ai.scorer._math import _answer_candidates
from inspect_ai.solver._multiple_choice import parse_answers

from specs.logs.thoughts import thoughts_reader

CHOICE = EvalScorer(name="choice")
MATH = EvalScorer(name="math")
NUMERIC = EvalScorer(name="match", options={"numeric": True})


def counts(scorer: EvalScorer, text: str) -> bool:
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00",
        task="t",
        dataset=EvalDataset(),
        model="vllm/m",
        config=EvalConfig(),
        scorers=[scorer],
    )
    answer = EvalSample(id=1, epoch=1, input="q", target="x", output=ModelOutput.from_content("m", text))
    return thoughts_reader(EvalLog(eval=spec))(answer)


def taken(scorer: EvalScorer, text: str) -> object:
    """What Inspect takes for the answer."""
    if scorer is CHOICE:
        state: Any = SimpleNamespace(output=SimpleNamespace(completion=text), choices=range(4))
        return parse_answers(state, multiple_correct=False)
    if scorer is MATH:
        return next(each for each in _answer_candidates(text) if each != text.strip())
    return match_str(text, "42", "end", numeric=True)[0]


@pytest.mark.parametrize(
    ("scorer", "thoughts", "answer"),
    [
        (CHOICE, "So\nANSWER: B\nHmm no, C is better.\n", "\n\n**ANSWER: C**"),
        (CHOICE, "The format is 'ANSWER: B'. Wait.\n", "\n\nThe correct answer is **C**"),
        (CHOICE, "So\nANSWER: B\n", "ANSWER: C"),
        (CHOICE, "So\nanswer: **B**\n", "\n\nANSWER: C) Paris"),
        (MATH, "First \\boxed{41}. Wait, 42.\n", "\n\nThe final answer is 42."),
        (MATH, "So the answer is 41. Wait.\n", "\n\n$42$"),
        (MATH, "It is $41$. Wait.\n", "\n\n42"),
        (NUMERIC, "it is 41\n", "\n\nI cannot answer."),
        (NUMERIC, "it is 41\n", "\n\n\\boxed{42}"),
    ],
)
def test_a_weaker_form_after_the_thoughts_leaves_the_answer_to_them(
    scorer: EvalScorer, thoughts: str, answer: str
) -> None:
    text = f"{thoughts}</think>{answer}"
    assert taken(scorer, text) == taken(scorer, f"{thoughts}</think>")
    assert counts(scorer, text)


@pytest.mark.parametrize(
    ("scorer", "thoughts", "answer"),
    [
        (CHOICE, "So\nANSWER: B\nHmm no.\n", "\n\nBecause of this:\n\nAnswer: $C$"),
        (CHOICE, "The format is 'ANSWER: B'. Wait.\n", "\n\n**ANSWER: C**"),
        (CHOICE, "Is it B?\n", "\n\nI cannot answer."),
        (MATH, "First \\boxed{41}. Wait, the answer is 42.\n", "\n\n\\boxed{42}"),
        (MATH, "First 41. Wait.\n", "\n\nSo it is\n42"),
        (NUMERIC, "it is 41\n", "\n\nIt is **$1,042**."),
        (NUMERIC, "No idea.\n", "\n\nI cannot answer."),
    ],
)
def test_as_strong_a_form_after_the_thoughts_is_the_answer(scorer: EvalScorer, thoughts: str, answer: str) -> None:
    text = f"{thoughts}</think>{answer}"
    assert taken(scorer, text) == taken(scorer, answer)
    assert not counts(scorer, text)


@pytest.mark.parametrize(
    ("scorer", "counted"),
    [
        (EvalScorer(name="includes"), True),
        (EvalScorer(name="match", options={"location": "any", "numeric": True}), True),
        (EvalScorer(name="match"), False),
    ],
)
def test_of_other_scorers_all_thoughts_count_but_for_the_last_words(scorer: EvalScorer, *, counted: bool) -> None:
    assert counts(scorer, "41</think>42") is counted
    assert not counts(scorer, "42")


@pytest.mark.parametrize("scorer", [CHOICE, MATH, NUMERIC], ids=["choice", "math", "numeric match"])
@pytest.mark.parametrize(
    "part", ["ANSWER:" + " " * 999 + "_", "\nANSWER:\n", "answer ", " ", "\n", "oxed", "$*", "1e+"]
)
def test_texts_made_to_be_slow_are_read_at_once(scorer: EvalScorer, part: str) -> None:
    text = part * (500_000 // len(part))
    begun = time.process_time()
    counts(scorer, f"{text}_</think>{text}_")
    assert time.process_time() - begun < 5
