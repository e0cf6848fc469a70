"""Does a split have the answers that its spec names? Many benchmarks withhold those of their test split.

Inspect (0.3.285, `_sanitize_target` in inspect_ai/_eval/task/hf.py) takes a null for the text "None", counts -1 from
the end of the alphabet, writes a list out as Python does, and holds answers against whatever that gives: an empty
target is in every answer, and the text of a list in none. Such a score says nothing of a model. What a list of one
holds is found by scorers that leave out punctuation: ['42'] is 42 to `match` and `exact`. Not where Python writes it
otherwise in a list: with a second backslash, or with an escape for a line break or a space that does not break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from inspect_ai._eval.task.hf import HFTask
from inspect_ai._util.text import strip_numeric_punctuation, strip_punctuation
from inspect_ai.scorer._classification import _normalize
from inspect_ai.scorer._common import first_number_normalized

from specs.text import clean
from workers.errors import SpecError

# A judge may need no target, and f1 counts the words that the text of a list has in common with an answer.
_COMPARING = frozenset({"includes", "match", "pattern", "answer", "exact", "choice", "math"})
_HOLDS_NO_TARGET = frozenset({"model_graded_qa", "model_graded_fact"})

_Reading: TypeAlias = Callable[[str], object]
"""What a scorer makes of the text of a target before it compares: of two texts alike, it judges alike."""


def check_targets(rows: datasets.Dataset, definition: HFTask) -> None:
    """Refuse a split none of whose rows has a target that the scorer which counts can compare with.

    Single rows without one among others are scored as Inspect scores them.

    Raises:
        SpecError: says what stands in their place.
    """
    name, scorer = definition.field_spec.target, definition.scorers[0].name
    if name.startswith("literal:") or scorer in _HOLDS_NO_TARGET or not len(rows):
        return
    column = rows.data.column(name)
    shown = clean(name, 100)
    targets = pc.list_flatten(column) if _is_list(column.type) else column
    if found := _withheld(targets, has_choices=definition.field_spec.choices is not None):
        raise SpecError(
            f"the split {clean(definition.split, 100)} has no answers: column {shown} holds {found} in all of its"
            f" {len(rows)} rows, as where answers are withheld; name a split that has them"
        )
    if scorer not in _COMPARING or not pa.types.is_nested(column.type):
        return
    reading = _reading_of_lists(scorer, definition.scorers[0].args)
    if reading is None or not _read_alike_in_lists(targets, reading) or not _are_of_one(column):
        raise SpecError(
            f"column {shown} holds lists or mappings, and {scorer} would look for the text of one (as ['a', 'b']) in"
            " each answer; a target must be one text or number"
        )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _are_of_one(column: pa.ChunkedArray) -> bool:
    return bool(pc.max(pc.list_value_length(column)).as_py() == 1)


def _reading_of_lists(scorer: str, args: Mapping[str, Any]) -> _Reading | None:
    """How a scorer reads targets, if it can find in the text of a list of one what that holds."""
    if scorer == "exact":
        return _normalize
    if scorer != "match":
        return None
    # `match_str` in inspect_ai/scorer/_common.py. With `numeric`, a target that it takes for no number is one text.
    return _numeric_reading if args.get("numeric") else _plain_reading


def _plain_reading(text: str) -> str:
    return strip_punctuation(text.strip())


def _numeric_reading(text: str) -> tuple[str, str]:
    return first_number_normalized([strip_numeric_punctuation(text.strip())]), _plain_reading(text)


def _read_alike_in_lists(targets: pa.ChunkedArray, reading: _Reading) -> bool:
    """Whether each target is the same to a scorer in the text of a list as by itself."""
    kind = targets.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        # In a list Python writes these as they are.
        return True
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    held = (each.as_py() for each in pc.unique(targets))
    return all(reading(str(text)) == reading(str([text])) for text in held)


def _withheld(column: pa.ChunkedArray, *, has_choices: bool) -> str | None:
    """What stands in every row in place of an answer; None where there are answers."""
    if not len(column):
        # Of lists, each of them empty.
        return "nothing"
    if column.null_count == len(column):
        return "null"
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return "nothing" if not pc.max(pc.utf8_length(pc.utf8_trim_whitespace(column))).as_py() else None
    if has_choices and pa.types.is_integer(column.type) and pc.max(column).as_py() < 0:
        return "a negative number"
    return None
