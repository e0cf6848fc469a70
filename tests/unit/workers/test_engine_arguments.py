"""What decides what an engine computes is among its arguments, which are on the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.judging.noise import settings_sha256
from specs.errors import PolicyError
from specs.messages import ModelRef
from specs.policy.engine import EngineRules
from specs.policy.rules import Policy, read_policy
from specs.repeat_command import Repeated, repeat_command
from tests.support.rows import measurement
from workers.engines.engine import engine_arguments

MODEL = ModelRef(model_id="tiny/thinker", revision="0" * 40)


def policy_with(folder: Path, parser: str) -> Policy:
    """As an operator writes it."""
    file = folder / "policy.yaml"
    file.write_text(f"models: {{tiny/thinker: {{reasoning_parser: '{parser}'}}}}")
    return read_policy(file)


def test_a_reasoning_parser_is_the_models_own(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "deepseek_r1")
    thinker, other = (
        engine_arguments(MODEL, policy.engine_for(name), gpus=1) for name in (MODEL.model_id, "tiny/model")
    )
    assert thinker[thinker.index("--reasoning-parser") + 1] == "deepseek_r1"
    assert "--reasoning-parser" not in other


@pytest.mark.parametrize("name", ["--load-format", "a b", "", "../parser.py", "x" * 62])
def test_what_is_no_name_of_a_parser_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError, match="reasoning_parser"):
        policy_with(tmp_path, name)


def test_runs_from_before_there_was_such_a_setting_are_alike() -> None:
    now = EngineRules().model_dump(mode="json")
    added = {"reasoning_parser", "batch_invariant"}
    before = {name: value for name, value in now.items() if name not in added}
    assert settings_sha256({"engine": now}) == settings_sha256({"engine": before})
    thinking = now | {"reasoning_parser": "deepseek_r1"}
    assert settings_sha256({"engine": thinking}) != settings_sha256({"engine": now})
    # Workers of earlier versions take no field that they do not know.
    assert "attention_backend" not in now
    assert "check_template" not in now
    assert settings_sha256({"engine": now | {"check_template": False}}) == settings_sha256({"engine": now})
    on_triton = now | {"attention_backend": "TRITON_ATTN"}
    assert settings_sha256({"engine": on_triton}) != settings_sha256({"engine": now})


def test_a_model_is_split_over_all_gpus_that_it_is_to_have() -> None:
    split, whole, cpu = (engine_arguments(MODEL, EngineRules(), gpus=gpus) for gpus in (4, 1, 0))
    assert split[split.index("--tensor-parallel-size") + 1] == "4"
    assert "--tensor-parallel-size" not in whole + cpu


def test_an_attention_backend_is_the_models_own(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("models: {tiny/thinker: {attention_backend: TRITON_ATTN}}")
    policy = read_policy(file)
    own, other = (engine_arguments(MODEL, policy.engine_for(name), gpus=1) for name in (MODEL.model_id, "tiny/model"))
    assert own[own.index("--attention-backend") + 1] == "TRITON_ATTN"
    assert "--attention-backend" not in other
    file.write_text("models: {tiny/thinker: {attention_backend: --load-format}}")
    with pytest.raises(PolicyError, match="attention_backend"):
        read_policy(file)


def test_a_model_can_be_exempt_from_the_look_at_its_template(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("models: {tiny/thinker: {check_template: false}}")
    policy = read_policy(file)
    own, other = (policy.engine_for(name) for name in (MODEL.model_id, "tiny/model"))
    assert (own.check_template, other.check_template) == (False, True)
    assert EngineRules.model_validate_json(own.model_dump_json()) == own


def test_whose_files_of_a_model_are_read_is_said_and_repeated_where_the_repo_has_others_too() -> None:
    own = engine_arguments(MODEL, EngineRules(model_format="hf"), gpus=1)
    assert own[own.index("--config-format") :][:6] == (
        *("--config-format", "hf", "--tokenizer-mode", "hf"),
        *("--ignore-patterns", "consolidated*"),
    )
    ran = measurement().circumstances.model_copy(update={"engine_arguments": own})
    command = repeat_command(Repeated("mistralai/m", "a" * 40, "acme/bench", "b" * 40, None, ran))
    assert "-M config_format=hf -M tokenizer_mode=hf -M 'ignore_patterns=consolidated*'" in command
    assert "--config-format" not in engine_arguments(MODEL, EngineRules(), gpus=1)
    assert "model_format" not in EngineRules().model_dump(mode="json"), "workers of earlier versions know of none"


@pytest.mark.parametrize("name", ["TRITON_ATTN", "FLASH_ATTN", "FLASHINFER"])
def test_the_backends_that_the_pages_name_are_known_to_the_engine(name: str) -> None:
    registry = pytest.importorskip("vllm.v1.attention.backends.registry", reason="the engine is not installed")
    assert name in registry.AttentionBackendEnum.__members__
