from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from inspect_ai._eval.task.hf import HFTask
from inspect_ai.dataset import Sample

from workers.benchmarks.choices import check_choices
from workers.errors import SpecError

GOOD = Sample(input="?", choices=["x", "y"], target="B")


def _task(solver: str, scorer: str) -> HFTask:
    return HFTask.model_validate(
        {
            "field_spec": {"input": "q", "target": "a", "choices": "o"},
            "solvers": [{"name": solver}],
            "scorers": [{"name": scorer, "args": {"pattern": "letter"} if scorer == "answer" else {}}],
        }
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("Paris", "has the target 'Paris', which must be the letter of a choice: .*beyond the task's 2 choices: P, r"),
        ("C", "beyond the task's 2 choices: C"),
        ("?", "must be a letter or number"),
        ("A", None),
        ("a,b", None),
    ],
)
def test_targets_that_name_no_choice_are_refused_where_none_does(target: str, words: str | None) -> None:
    samples = [Sample(input="?", choices=["x", "y"], target=target)] * 2
    with pytest.raises(SpecError, match=words) if words else nullcontext():
        check_choices(_task("multiple_choice", "choice"), samples)
    check_choices(_task("multiple_choice", "choice"), [*samples, GOOD])


@pytest.mark.parametrize("choices", [None, []])
def test_questions_without_choices_are_refused_where_they_are_to_be_chosen_from(choices: Any) -> None:
    samples = [Sample(input="?", choices=choices, target="B")] * 3
    for scorer in ("choice", "answer"):
        with pytest.raises(SpecError, match=r"not one of the 3 questions .* the first has no choices"):
            check_choices(_task("multiple_choice", scorer), samples)
    check_choices(_task("generate", "answer"), samples)
