from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import datasets
import pytest
from inspect_ai._eval.task.hf import HFTask

from workers.benchmarks.targets import check_targets
from workers.errors import SpecError


def _task(scorer: str, **field_spec: Any) -> HFTask:
    return HFTask.model_validate(
        {
            "field_spec": {"input": "q", "target": "a", **field_spec},
            "solvers": [{"name": "generate"}],
            "scorers": [{"name": scorer}],
        }
    )


@pytest.mark.parametrize(
    ("answers", "stands_there"),
    [([None, None], "null"), (["", "  "], "nothing"), ([None, ""], "nothing"), (["", "x"], None), ([None, "x"], None)],
)
def test_a_split_without_any_answer_is_refused(answers: list[Any], stands_there: str | None) -> None:
    rows = datasets.Dataset.from_list([{"q": "?", "a": each} for each in answers])
    words = f"the split test has no answers: column a holds {stands_there} in all of its 2 rows"
    with pytest.raises(SpecError, match=words) if stands_there else nullcontext():
        check_targets(rows, _task("match"))
    check_targets(rows, _task("model_graded_qa"))
    check_targets(rows, _task("match", target="literal:x"))


def test_negative_numbers_are_no_letters_of_choices() -> None:
    withheld = datasets.Dataset.from_list([{"q": "?", "a": -1, "o": ["x", "y"]}] * 2)
    with pytest.raises(SpecError, match="column a holds a negative number in all"):
        check_targets(withheld, _task("choice", choices="o"))
    check_targets(withheld, _task("match"))


@pytest.mark.parametrize("answer", [["Paris", "paris"], {"value": "Paris"}])
def test_lists_and_mappings_are_not_compared_as_their_text(answer: Any) -> None:
    rows = datasets.Dataset.from_list([{"q": "?", "a": answer}] * 2)
    with pytest.raises(SpecError, match="exact would look for the text of one"):
        check_targets(rows, _task("exact"))
    check_targets(rows, _task("f1"))
