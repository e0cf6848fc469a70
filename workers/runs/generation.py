"""The sampling settings of a run: the spec's own, else policy's, else the model's, else vLLM's.

vLLM (0.32) takes defaults from the model's generation_config.json: repetition, presence and frequency penalty,
temperature, top_k, top_p, min_p and max_new_tokens (`ModelConfig.get_diff_sampling_param` in vllm/config/model.py). It
does not look at `do_sample`: a model that says `do_sample: false` and no temperature is sampled at vLLM's default, 1.0.
So it is here, because so it is for everybody who serves the model with vLLM. Policy's temperature 0 means greedy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inspect_ai._eval.task.hf import HFTask
from inspect_ai.model import GenerateConfigArgs
from pydantic import ValidationError

from specs.hub.task_spec import ANSWERING, answering_arguments, gives_one_seed
from specs.policy.generation import EffectiveGeneration, GenerationSettings, SamplingSource
from specs.validation_errors import fault
from workers.errors import ModelError

VLLM_DEFAULTS: Mapping[str, float | int | None] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "max_tokens": None,
}
"""What vLLM (0.32) uses when nobody says anything: `ChatCompletionRequest._DEFAULT_SAMPLING_PARAMS` in
vllm/entrypoints/openai/chat_completion/protocol.py. A copy, because importing that takes 20 s; a test compares."""

_INTEGERS = frozenset({"top_k", "max_tokens"})


def generation_config(snapshot: Path) -> dict[str, object]:
    """The model's generation_config.json; empty where it has none.

    Raises:
        ModelError: it is none.
        OSError: this machine cannot read it, which the model cannot help.
    """
    file = snapshot / "generation_config.json"
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"generation_config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError("generation_config.json is not a JSON object")
    return config


def resolve(
    policy: GenerationSettings, task: HFTask | None, model: Mapping[str, object], seed: int, context_tokens: int | None
) -> EffectiveGeneration:
    """The settings by which a task's answers are sampled, and where each came from.

    Without a task, those of requests for which the spec says nothing. A limit of tokens that the engine's context does
    not even hold limits nothing, and vLLM refuses requests with one.

    Raises:
        ModelError: the model's own settings are no settings.
    """
    spec = answering_arguments(task) if task is not None else {}
    wishes = _checked(model)
    values: dict[str, Any] = {}
    sources: dict[str, SamplingSource] = {}
    for name, default in VLLM_DEFAULTS.items():
        if name in spec and spec[name] is not None:
            values[name], sources[name] = spec[name], "spec"
        elif (chosen := getattr(policy, name)) is not None:
            values[name], sources[name] = chosen, "policy"
        elif (wish := getattr(wishes, name)) is not None:
            values[name], sources[name] = wish, "generation_config"
        else:
            values[name], sources[name] = default, "vllm_default"
    if _holds_less(context_tokens, values["max_tokens"]):
        values["max_tokens"] = None
    if task is not None and gives_one_seed(task):
        seed, sources["seed"] = spec["seed"], "spec"
    return EffectiveGeneration(**values, seed=seed, sources=sources)


def sendable(task: HFTask, defaults: EffectiveGeneration, context_tokens: int | None) -> HFTask:
    """The task, with its solvers' settings as Inspect's provider sends them and vLLM takes them.

    Each solver's settings are for its own requests: what a model is asked as a judge is not cut to the length of an
    answer. `defaults` are sent where a solver says nothing.
    """

    def said(arguments: dict[str, Any]) -> dict[str, Any]:
        kept = dict(arguments)
        if _holds_less(context_tokens, kept.get("max_tokens")):
            # Left out, the limit of `defaults` would be sent in its place. Of the context's length vLLM takes it.
            kept["max_tokens"] = context_tokens
        if kept.get("top_k") is not None:
            # Inspect's provider for vLLM (0.3.285) leaves it out.
            kept["extra_body"] = {**_body(defaults), "top_k": kept.pop("top_k")}
        return kept

    solvers = [
        each.model_copy(update={"args": said(each.args)}) if each.name in ANSWERING else each for each in task.solvers
    ]
    return task.model_copy(update={"solvers": solvers})


def request_arguments(settings: EffectiveGeneration) -> GenerateConfigArgs:
    """The settings as Inspect sends them; what OpenAI's API has no name for goes into the body as it is."""
    arguments: GenerateConfigArgs = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "presence_penalty": settings.presence_penalty,
        "frequency_penalty": settings.frequency_penalty,
        "seed": settings.seed,
        "extra_body": _body(settings),
    }
    if settings.max_tokens is not None:
        arguments["max_tokens"] = settings.max_tokens
    return arguments


def _body(settings: EffectiveGeneration) -> dict[str, Any]:
    return {
        "top_k": settings.top_k,
        "min_p": settings.min_p,
        "repetition_penalty": settings.repetition_penalty,
    }


def _holds_less(context_tokens: int | None, limit: int | None) -> bool:
    return context_tokens is not None and limit is not None and limit >= context_tokens


def _checked(config: Mapping[str, object]) -> GenerationSettings:
    """The model's wishes, within the bounds of settings."""
    wishes = {name: config.get("max_new_tokens" if name == "max_tokens" else name) for name in VLLM_DEFAULTS}
    try:
        return GenerationSettings(**{n: _number(n, value) for n, value in wishes.items() if value is not None})
    except ValidationError as error:
        wrong = "; ".join(map(fault, error.errors()))
        raise ModelError(f"generation_config.json has settings that are none: {wrong}") from error


def _number(name: str, value: object) -> Any:
    # Neither NaN nor the infinities, nor whole numbers that no float holds.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ModelError(f"generation_config.json: {name} must be a number")
    if name in _INTEGERS:
        return int(value) if value == int(value) else value
    return float(value)
