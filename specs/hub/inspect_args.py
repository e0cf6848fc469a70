"""Arguments of an eval.yaml's solvers and scorers, held against the signatures of Inspect's own functions.

Nothing from the file is called or built here. Importing this module imports inspect_ai.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import inspect_ai.scorer
import inspect_ai.solver
from pydantic import ConfigDict, TypeAdapter, ValidationError

from specs.hub.task_spec import ANSWERING
from specs.policy.generation import GenerationSettings
from specs.text import clean
from specs.validation_errors import what_is_allowed

MAX_PATTERN_CHARS = 2000
"""Of a regular expression: to compile ten thousand characters of one can take seconds."""

MAX_SEED = 2**53
"""What every reader of JSON has as a whole number; vLLM takes 64 bits."""

SAMPLING_SETTINGS = frozenset(
    {
        "frequency_penalty",
        "max_tokens",
        "presence_penalty",
        "reasoning_effort",
        "reasoning_tokens",
        "seed",
        "stop_seqs",
        "temperature",
        "top_k",
        "top_p",
    }
)
"""What `generate` may set. Its other arguments concern connections, caches and providers, which are the farm's."""


class ArgumentFindings(typing.NamedTuple):
    """Sentences that begin with the place of the argument."""

    invalid: list[str]
    unsupported: list[str]


def check_arguments(kind: str, name: str, args: Mapping[str, Any], where: str) -> ArgumentFindings:
    """Judge the arguments of the solver or scorer `name`; `kind` is "solver" or "scorer"."""
    found = ArgumentFindings([], [])
    known, takes_any = _parameters(kind, name)
    for key, value in args.items():
        place = f"{where}.args.{clean(str(key), 60)}"
        if key not in known:
            if not takes_any:
                has = f"it has {', '.join(sorted(known))}" if known else "it has none"
                found.invalid.append(f"{place}: {name} has no such argument; {has}")
        elif problem := _type_problem(_adapter(kind, name, key), value):
            found.invalid.append(f"{place}: {problem}")
        elif name == "generate" and key not in SAMPLING_SETTINGS | {"tool_calls"}:
            found.unsupported.append(f"{place}: this farm lets an eval.yaml set only sampling settings of generate")
        elif name in ANSWERING and (problem := _sampling_problem(key, value)):
            found.unsupported.append(f"{place}: {problem}: the engine would refuse every question")
        elif name == "multiple_choice" and key == "shuffle" and value:
            found.unsupported.append(f"{place}: cannot be seeded; set shuffle_choices on the task instead")
    missing = [key for key, each in known.items() if each.default is inspect.Parameter.empty and key not in args]
    found.invalid.extend(f"{where}.args.{key} is missing; {name} needs it" for key in missing)
    if not found.invalid:
        found.invalid.extend(_regex_problems(name, args, where))
    return found


@functools.cache
def _parameters(kind: str, name: str) -> tuple[dict[str, inspect.Parameter], bool]:
    """The named parameters of a solver or scorer, and whether it takes any others as well."""
    module = inspect_ai.solver if kind == "solver" else inspect_ai.scorer
    function: Callable[..., object] = getattr(module, name)
    known: dict[str, inspect.Parameter] = {}
    takes_any = False
    for key, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            options = typing.get_args(parameter.annotation)
            takes_any = not options
            for option in options:
                known |= {
                    name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
                    for name, annotation in typing.get_type_hints(option).items()
                }
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            known[key] = parameter
    return known, takes_any


@functools.cache
def _adapter(kind: str, name: str, key: str) -> TypeAdapter[object]:
    annotation = _parameters(kind, name)[0][key].annotation
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, strict=True))


def _type_problem(adapter: TypeAdapter[object], value: object) -> str | None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        # A union reports every member; the first is the plain type that YAML can write.
        return f"{what_is_allowed(error.errors(include_url=False)[0])}, not {clean(repr(value), 60)}"
    return None


def _sampling_problem(key: str, value: object) -> str | None:
    """Why vLLM does not take a sampling setting; None where it does."""
    if key == "seed" and isinstance(value, int) and abs(value) >= MAX_SEED:
        return f"must be between -{MAX_SEED} and {MAX_SEED}, not {clean(repr(value), 60)}"
    if key not in GenerationSettings.model_fields:
        return None
    try:
        # Lax about 1 for 1.0, as YAML writes it.
        GenerationSettings.model_validate({key: value}, strict=False)
    except ValidationError as error:
        return f"{what_is_allowed(error.errors(include_url=False)[0])}, not {clean(repr(value), 60)}"
    return None


def _regex_problems(name: str, args: Mapping[str, Any], where: str) -> list[str]:
    keys = {"pattern": ["pattern"], "model_graded_qa": ["grade_pattern"], "model_graded_fact": ["grade_pattern"]}
    problems = []
    for key in keys.get(name, []):
        pattern = args.get(key) or ""
        if len(pattern) > MAX_PATTERN_CHARS:
            problems.append(f"{where}.args.{key}: has {len(pattern)} characters; {MAX_PATTERN_CHARS} are read at most")
            continue
        try:
            groups = re.compile(pattern).groups
            if key == "grade_pattern" and pattern and not groups:
                problems.append(
                    f"{where}.args.{key}: has no group; Inspect takes the grade from the first, as in ([CI])"
                )
        except (re.error, RecursionError, OverflowError) as error:
            problems.append(f"{where}.args.{key}: not a regular expression ({clean(str(error), 100)})")
    return problems
