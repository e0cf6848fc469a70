from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import date
from decimal import Decimal
from typing import Any

import datasets
import pytest
from inspect_ai._eval.task.hf import HFTask, _record_to_sample_hf
from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.scorer import Scorer, Target, exact, match, value_to_float
from inspect_ai.solver import TaskState

from workers.benchmarks.targets import check_targets
from workers.errors import SpecError


def _task(scorer: str, args: dict[str, Any] | None = None, **field_spec: Any) -> HFTask:
    return HFTask.model_validate(
        {
            "field_spec": {"input": "q", "target": "a", **field_spec},
            "solvers": [{"name": "generate"}],
            "scorers": [{"name": scorer, "args": args or {}}],
        }
    )


def _value(scorer: Scorer, answer: Any, said: str) -> float:
    """What Inspect gives an answer for a row's target."""
    sample = _record_to_sample_hf({"q": "?", "a": answer}, _task("match").field_spec)
    output = ModelOutput.from_content("m", said)
    state = TaskState(model=ModelName("vllm/m"), sample_id=1, epoch=1, input="?", messages=[], output=output)
    score = asyncio.run(scorer(state, Target(sample.target)))
    assert score is not None
    return value_to_float()(score.value)


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


@pytest.mark.parametrize(
    ("scorer", "answers", "says"),
    [
        ("match", [["42"], ["43"]], None),
        ("exact", [[42], None], None),
        ("exact", [["42"], ["a", "b"]], "exact would look for the text of one"),
        # Whose text has a backslash and a letter in its place, which no answer has.
        ("match", [["42"], ["a\nb"]], "match would look for the text of one"),
        # It takes [42] for a list.
        ("math", [[42], [43]], "math would look for the text of one"),
        ("includes", [["42"], ["43"]], "includes would look for the text of one"),
        ("match", [[], ["a", "b"]], "match would look for the text of one"),
        ("match", [[{"value": "42"}], [{"value": "43"}]], "match would look for the text of one"),
        ("match", [[""], [" "]], "column a holds nothing in all of its 2 rows"),
        ("match", [[None], [None]], "column a holds null in all of its 2 rows"),
        ("f1", [[], []], "column a holds nothing in all of its 2 rows"),
    ],
)
def test_of_lists_those_of_one_are_compared_by_scorers_that_find_it(
    scorer: str, answers: list[Any], says: str | None
) -> None:
    rows = datasets.Dataset.from_list([{"q": "?", "a": each} for each in answers])
    with pytest.raises(SpecError, match=says) if says else nullcontext():
        check_targets(rows, _task(scorer))


@pytest.mark.parametrize(
    ("target", "found_by"),
    [
        ("42", "match numeric exact"),
        (42, "match numeric exact"),
        (-0.5, "match numeric exact"),
        (True, "match numeric exact"),
        ("1,000", "match numeric exact"),
        ("café", "match numeric exact"),
        ("well-known", "match numeric exact"),
        ("it's", "match numeric exact"),
        (r"\frac{1}{2}", "match numeric exact"),
        # Python doubles the backslash, which is punctuation to `exact`, and to `match` where it stands first.
        (r"3\sqrt{2}", "exact"),
        (r"\$20", "match exact"),
        # With one kind of quotes in it a text has the other around it, with both a backslash before one.
        ('it\'s "so" here', "exact"),
        # These are escaped.
        ("New\xa0York", ""),
        ("a\u200bb", ""),
        ("a\nb", ""),
        (date(2026, 1, 2), ""),
        (Decimal("1.50"), ""),
    ],
)
def test_lists_of_one_are_compared_where_inspects_scorers_find_what_they_hold(target: Any, found_by: str) -> None:
    rows = datasets.Dataset.from_dict({"q": ["?"], "a": [[target]]})
    for name, args, scorer in (
        ("match", {}, match()),
        ("match", {"numeric": True}, match(numeric=True)),
        ("exact", {}, exact()),
    ):
        called = "numeric" if args else name
        for said in (str(target), f"1{target}", "43"):
            finds = _value(scorer, [target], said) == _value(scorer, target, said)
            assert finds or called not in found_by, (called, said)
        with nullcontext() if called in found_by else pytest.raises(SpecError, match=f"{name} would look for the text"):
            check_targets(rows, _task(name, args))


@pytest.mark.parametrize("answer", [["Paris", "paris"], {"value": "Paris"}])
def test_lists_and_mappings_are_not_compared_as_their_text(answer: Any) -> None:
    rows = datasets.Dataset.from_list([{"q": "?", "a": answer}] * 2)
    with pytest.raises(SpecError, match="exact would look for the text of one"):
        check_targets(rows, _task("exact"))
    check_targets(rows, _task("f1"))
