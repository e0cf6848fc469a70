"""The command that repeats a run elsewhere with Inspect's own command line (inspect_ai 0.3.285, `inspect eval`)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from specs.engines.batch_invariance import VARIABLE
from specs.measurement import Circumstances

OURS_ALONE = frozenset({"served-model-name", "disable-uvicorn-access-log"})
"""Engine arguments that change no answer, and that Inspect sets itself where it needs them."""


@dataclass(frozen=True)
class Repeated:
    """What was run."""

    model_id: str
    model_revision: str
    dataset_id: str
    dataset_revision: str
    task_id: str | None
    circumstances: Circumstances


def repeat_command(run: Repeated) -> str:
    """One line for a POSIX shell. Repeats all samples, where the farm may have stopped early or drawn some.

    Inspect's `--limit` would take the first, not those that were drawn.
    """
    return shlex.join(_words(run))


def folded_command(run: Repeated) -> str:
    """The same with a line for each option."""
    return "".join((" \\\n  " if word.startswith("-") else " ") + shlex.quote(word) for word in _words(run)).strip()


def not_repeatable(refusal: str) -> str:
    """What is said instead, where Inspect's loader refuses the eval.yaml for other tasks of it than was run."""
    words = "Inspect's command line cannot repeat the run: it reads every task of the eval.yaml first, and refuses"
    return f"{words} {refusal}"


def _words(run: Repeated) -> list[str]:
    kernels = [f"{VARIABLE}=1"] if run.circumstances.batch_invariant else []
    return [*kernels, "inspect", "eval", *_arguments(run)]


def _arguments(run: Repeated) -> Iterator[str]:
    task = f"/{run.task_id}" if run.task_id else ""
    yield f"hf/{run.dataset_id}{task}@{run.dataset_revision}"
    yield from ("--model", f"vllm/{run.model_id}", "-M", f"revision={run.model_revision}")
    # The tokenizer is pinned apart from the weights.
    yield from ("-M", f"tokenizer_revision={run.model_revision}")
    for name, value in _engine(run.circumstances.engine_arguments):
        yield from ("-M", f"{name.replace('-', '_')}={value}")
    generation = run.circumstances.generation
    # No seed: Inspect would send one with every request, and vLLM draws the same numbers for all requests of one seed.
    for option in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens"):
        value = getattr(generation, option)
        # What the spec says of its answers Inspect reads there; as an option it would be said to judges as well.
        if value is not None and generation.sources.get(option) != "spec":
            # With `=`: a negative number would be taken for an option.
            yield f"--{option.replace('_', '-')}={value}"
    # OpenAI's API has no names for these, so they go into the body as they are.
    body = {name: getattr(generation, name) for name in ("top_k", "min_p", "repetition_penalty")}
    yield from ("--extra-body", json.dumps(body))
    yield f"--epochs={run.circumstances.epochs}"


def _engine(arguments: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The engine's options with their values; a flag has `true`."""
    for place, argument in enumerate(arguments):
        name = argument.removeprefix("--")
        if not argument.startswith("--") or name in OURS_ALONE:
            continue
        after = arguments[place + 1] if place + 1 < len(arguments) else "--"
        yield name, "true" if after.startswith("--") else after
