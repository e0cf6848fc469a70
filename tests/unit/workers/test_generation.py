from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai._eval.task.hf import HFSolver, HFTask

from specs.hub.task_spec import asks_the_same, epochs_repeat, gives_one_seed
from specs.policy.generation import GenerationSettings
from workers.errors import ModelError
from workers.runs.generation import generation_config, request_arguments, resolve


def _task(**arguments: Any) -> HFTask:
    return HFTask.model_validate(
        {
            "field_spec": {"input": "q", "target": "a"},
            "solvers": [{"name": "generate", "args": arguments}],
            "scorers": [{"name": "exact"}],
        }
    )


def test_policy_goes_before_the_model_and_the_model_before_vllm() -> None:
    policy = GenerationSettings(temperature=0.0)
    settings = resolve(
        policy, _task(), {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "max_new_tokens": 2048}, 7, 4096
    )
    assert (settings.temperature, settings.top_p, settings.top_k, settings.max_tokens) == (0.0, 0.9, 20, 2048)
    assert settings.repetition_penalty == 1.0
    assert settings.seed == 7
    assert settings.sources["temperature"] == "policy"
    assert settings.sources["top_p"] == settings.sources["max_tokens"] == "generation_config"
    assert settings.sources["min_p"] == "vllm_default"


def test_the_specs_own_argument_goes_before_everything_as_in_inspect() -> None:
    settings = resolve(GenerationSettings(temperature=0.0, max_tokens=10), _task(temperature=0.7, seed=3), {}, 7, 4096)
    assert (settings.temperature, settings.seed, settings.max_tokens) == (0.7, 3, 10)
    assert settings.sources["temperature"] == settings.sources["seed"] == "spec"


def test_what_a_spec_says_of_an_earlier_turn_says_nothing_of_the_answer_that_is_scored() -> None:
    first = {"name": "generate", "args": {"temperature": 0.7, "max_tokens": 4000, "seed": 3}}
    policy = GenerationSettings(temperature=0.0, max_tokens=256)
    critical = _task().model_copy(update={"solvers": [HFSolver(**first), HFSolver(name="self_critique")]})
    settings = resolve(policy, critical, {}, 7, 4096)
    assert (settings.temperature, settings.max_tokens, settings.seed) == (0.0, 256, 7)
    assert settings.sources["temperature"] == settings.sources["max_tokens"] == "policy"
    assert "seed" not in settings.sources
    assert not gives_one_seed(critical)
    twice = critical.model_copy(update={"solvers": [HFSolver(**first), HFSolver(name="generate", args={"seed": 4})]})
    settings = resolve(policy, twice, {}, 7, 4096)
    assert (settings.temperature, settings.max_tokens, settings.seed) == (0.0, 256, 4)


@pytest.mark.parametrize(("arguments", "given"), [({"seed": 0}, True), ({"seed": None}, False), ({}, False)])
def test_whether_the_spec_gives_the_seed_is_said_by_one_rule(arguments: dict[str, Any], given: bool) -> None:
    settings = resolve(GenerationSettings(), _task(**arguments), {}, 7, 4096)
    assert (settings.sources.get("seed") == "spec") is gives_one_seed(_task(**arguments)) is given
    assert settings.seed == (0 if given else 7)
    assert settings.epochs_repeat is given


@pytest.mark.parametrize(
    ("spec", "policy", "repeat"),
    [
        ({}, {}, False),
        ({"seed": 0}, {}, True),
        ({}, {"temperature": 0.0}, True),
        ({}, {"temperature": 0.05}, True),
        ({}, {"temperature": 0.06}, False),
        ({}, {"temperature": 0.6, "top_k": 1}, True),
        ({}, {"temperature": 0.6, "top_k": -1}, False),
        ({"temperature": 0.7}, {"temperature": 0.0}, False),
        ({"temperature": 0}, {"temperature": 0.7}, True),
        ({"temperature": None}, {"temperature": 0.0}, True),
        ({"top_k": 20}, {"top_k": 1}, False),
    ],
)
def test_epochs_repeat_by_one_seed_or_where_nothing_is_sampled(
    spec: dict[str, Any], policy: dict[str, Any], repeat: bool
) -> None:
    # What is forecast before a run, and what it is judged by afterwards.
    settings = GenerationSettings(**policy)
    assert resolve(settings, _task(**spec), {}, 7, 4096).epochs_repeat is repeat
    assert epochs_repeat(_task(**spec), settings) is repeat


@pytest.mark.parametrize(
    ("model", "repeat"), [({"temperature": 0}, True), ({"temperature": 0.6, "top_k": 1}, True), ({"top_k": 20}, False)]
)
def test_a_model_that_is_greedy_by_itself_repeats_its_epochs_unless_policy_has_it_sample(
    model: dict[str, object], repeat: bool
) -> None:
    sampled = GenerationSettings(temperature=0.7, top_k=20)
    assert resolve(GenerationSettings(), _task(), model, 7, 4096).epochs_repeat is repeat
    assert not resolve(sampled, _task(), model, 7, 4096).epochs_repeat


@pytest.mark.parametrize(
    ("solvers", "shuffled", "same"),
    [
        (["system_message", "generate"], False, True),
        (["multiple_choice"], None, True),
        (["multiple_choice"], True, False),
        (["generate", "generate"], False, False),
        (["generate", "self_critique"], False, False),
        (["self_critique"], False, False),
    ],
)
def test_runs_ask_the_same_unless_choices_are_shuffled_or_answers_are_asked_about(
    solvers: list[str], shuffled: bool | None, same: bool
) -> None:
    steps = [HFSolver.model_validate({"name": name}) for name in solvers]
    assert asks_the_same(_task().model_copy(update={"solvers": steps, "shuffle_choices": shuffled})) is same


@pytest.mark.parametrize("limit", [4096, 100_000])
def test_a_limit_beyond_the_context_is_none(limit: int) -> None:
    assert resolve(GenerationSettings(max_tokens=limit), _task(), {}, 7, 4096).max_tokens is None
    assert resolve(GenerationSettings(max_tokens=4095), _task(), {"max_new_tokens": limit}, 7, 4096).max_tokens == 4095
    assert resolve(GenerationSettings(), _task(), {"max_new_tokens": limit}, 7, 4096).max_tokens is None


def test_do_sample_false_changes_nothing_as_in_vllm() -> None:
    assert resolve(GenerationSettings(), _task(), {"do_sample": False}, 7, 4096).temperature == 1.0


@pytest.mark.parametrize(
    "config",
    [
        {"temperature": "hot"},
        {"temperature": True},
        {"temperature": float("nan")},
        {"temperature": -1},
        {"temperature": 10**400},
        {"top_k": 1.5},
        {"top_p": 7},
        {"max_new_tokens": 0},
    ],
)
def test_settings_that_are_none_are_the_models_fault(config: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        resolve(GenerationSettings(), _task(), config, 7, 4096)


def test_everything_is_sent_explicitly() -> None:
    arguments = request_arguments(resolve(GenerationSettings(max_tokens=5), _task(), {"top_k": 20}, 7, 4096))
    assert arguments == {
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": 7,
        "max_tokens": 5,
        "extra_body": {"top_k": 20, "min_p": 0.0, "repetition_penalty": 1.0},
    }


def test_a_model_without_a_generation_config_has_no_wishes(tmp_path: Path) -> None:
    assert generation_config(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_broken_generation_config_is_the_models_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        generation_config(tmp_path)
