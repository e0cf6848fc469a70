"""Does a split have the answers that its spec names? Many benchmarks withhold those of their test split.

Inspect (0.3.285, `_sanitize_target` in inspect_ai/_eval/task/hf.py) takes a null for the text "None", counts -1 from
the end of the alphabet, writes a list out as Python does, and holds answers against whatever that gives: an empty
target is in every answer, and the text of a list in none. Such a score says nothing of a model. What a list of one
holds is found by scorers that leave out punctuation: ['42'] is 42 to `match` and `exact`.
"""

from __future__ import annotations

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from inspect_ai._eval.task.hf import HFTask

from specs.text import clean
from workers.errors import SpecError

# A judge may need no target, and f1 counts the words that the text of a list has in common with an answer.
_COMPARING = frozenset({"includes", "match", "pattern", "answer", "exact", "choice", "math"})
_READS_LISTS_OF_ONE = frozenset({"match", "exact"})
_HOLDS_NO_TARGET = frozenset({"model_graded_qa", "model_graded_fact"})


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
    if scorer not in _READS_LISTS_OF_ONE or not _stand_in_their_text(targets) or not _are_of_one(column):
        raise SpecError(
            f"column {shown} holds lists or mappings, and {scorer} would look for the text of one (as ['a', 'b']) in"
            " each answer; a target must be one text or number"
        )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _are_of_one(column: pa.ChunkedArray) -> bool:
    return bool(pc.max(pc.list_value_length(column)).as_py() == 1)


def _stand_in_their_text(targets: pa.ChunkedArray) -> bool:
    """Whether the text of a list has each as it is: a line break would be a backslash and a letter there."""
    if pa.types.is_nested(targets.type):
        return False
    if not (pa.types.is_string(targets.type) or pa.types.is_large_string(targets.type)):
        return True
    return not pc.any(pc.match_substring_regex(targets, r"[[:cntrl:]]")).as_py()


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
