"""What is wrong with a value, in a line that says what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from specs.judging.verdict import Outcome
from specs.validation_errors import WORDS, fault


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, Field(min_length=1, max_length=3, pattern="^[a-z]*$")] = "x"
    outcome: Outcome | None = None
    tags: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("x",)
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5


def faults(body: object) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        Body.model_validate(body)
    found: list[ErrorDetails] = raised.value.errors()
    return [fault(each) for each in found]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"why": ""}, "why: must have 1 or more characters"),
        ({"why": "long"}, "why: must have 3 or fewer characters"),
        ({"why": "X"}, "why: must have the form ^[a-z]*$"),
        ({"why": 1}, "why: must be text"),
        ({"else": 1}, "else: is not taken here"),
        ({"tags": ()}, "tags: must have 1 or more items"),
        ({"tags": ("a", "b", "c")}, "tags: must have 2 or fewer items"),
        ({"share": 0}, "share: must be more than 0.0"),
        ({"share": 1}, "share: must be less than 1.0"),
    ],
)
def test_a_fault_says_where_it_is_and_what_is_allowed(body: dict[str, Any], words: str) -> None:
    assert faults(body) == [words]


def test_of_a_few_values_all_are_named() -> None:
    (words,) = faults({"outcome": "maybe"})
    assert words.startswith("outcome: must be 'verified', ")


def test_the_types_are_those_that_pydantic_has() -> None:
    assert set(WORDS) <= set(get_args(ErrorType))
