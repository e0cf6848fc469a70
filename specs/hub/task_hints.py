"""What Inspect's schema errors mean to the author of an eval.yaml, with a hint at what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from pydantic_core import ErrorDetails

from specs.text import clean
from specs.validation_errors import what_is_allowed

# Keys seen in published files, of older schemas and of other tools.
_KEY_HINTS = {
    "scores": "the key is scorers",
    "metrics": "the scorers decide the metric",
    "epochs_reducer": "the key is epoch_reducer",
    "name": "the key is id",
    "subset": "the key is config",
    "subsets": "the key is config, one task for each",
    "splits": "the key is split, one task for each",
    "hf_subset": "the key is config",
    "prompt_template": "write it as a solver: `- name: prompt_template` with args.template",
    "languages": "at the top level it would be ignored",
    "labels": "at the top level it would be ignored",
    "task": "at the top level it would be ignored",
    "description": "at the top level it would be read",
}
# Names of other harnesses for what Inspect has under its own.
_NAME_HINTS = {
    "exact_match": "exact",
    "em": "exact",
    "accuracy": "match",
    "f1_score": "f1",
    "regex": "pattern",
    "math_verify": "math",
    "llm_judge": "model_graded_qa",
    "llm_as_judge": "model_graded_qa",
    "cot": "chain_of_thought",
    "mcq": "multiple_choice",
}


def sentence(prefix: str, error: ErrorDetails, known_names: Mapping[str, Collection[str]]) -> str:
    """One schema error as a sentence; `prefix` is the task's place, `known_names` those of solvers and scorers."""
    where = _place(prefix, error)
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        inside = "a task" if len(error["loc"]) == 1 else "field_spec"
        hint = _KEY_HINTS.get(str(error["loc"][-1]))
        return f"extra key {where}; Inspect allows no other keys inside {inside}" + (f": {hint}" if hint else "")
    if error["type"] == "literal_error" and error["loc"][-1] == "name":
        return _unknown_name(where.removesuffix(".name"), str(error["loc"][0]), error["input"], known_names)
    return f"{where} {_wrong_value(error, known_names)}"


def _place(prefix: str, error: ErrorDetails) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{clean(part, 60)}" for part in error["loc"])
    return prefix + "".join(parts)


def _wrong_value(error: ErrorDetails, known_names: Collection[str]) -> str:
    value, place = error["input"], error["loc"]
    shown = clean(repr(value), 60)
    if isinstance(value, str) and len(place) == 2 and place[0] in known_names:
        return f"is the text {shown}; write `- name: {clean(value, 60)}`"
    if place[-1] == "epoch_reducer":
        return f"is {shown}; Inspect has mean, median, mode, max, pass_at_K and at_least_K"
    if error["type"] == "too_short" and not value:
        return "is empty; at least one is needed"
    return f"is {shown}: {what_is_allowed(error)}"


def _unknown_name(where: str, kind: str, value: object, known_names: Mapping[str, Collection[str]]) -> str:
    name = clean(str(value), 60)
    known = sorted(known_names.get(kind, ()))
    similar = _NAME_HINTS.get(name.lower())
    if similar not in known:
        similar = next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.75)), None)
    hint = f"did you mean {similar}?" if similar else f"Inspect has {', '.join(known)}"
    return f"{where}: unknown {kind.removesuffix('s')}: {name}; {hint}"
