"""A config.json is somebody's upload: what counts in it, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.engines.model_config import MAX_CONFIG_BYTES, ModelConfigError, read_config
from tests.support.models import CONFIGS, config_of

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "max_position_embeddings": 512}


def read(**changes: object) -> object:
    return read_config(json.dumps({**SMALL, **changes}).encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "has no num_attention_heads"),
        (b" " * (MAX_CONFIG_BYTES + 1), "larger than"),
        (b'{"num_attention_heads": 1' + b"0" * 5000 + b"}", "no JSON"),
    ],
)
def test_a_file_that_is_no_config_says_why(text: bytes, words: str) -> None:
    with pytest.raises(ModelConfigError, match=words):
        read_config(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 0},
        {"num_hidden_layers": -3},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 2.5},
        {"num_hidden_layers": True},
        {"num_hidden_layers": "two"},
        {"num_hidden_layers": [[[]]]},
        {"num_attention_heads": 0},
        {"num_key_value_heads": 0},
        {"hidden_size": 2**40},
        {"head_dim": -1},
        {"max_position_embeddings": 0},
        {"max_position_embeddings": 1e30},
        {"sliding_window": -5},
        {"model_type": "deepseek_v3", "kv_lora_rank": 512},
        {"model_type": "deepseek_v3", "kv_lora_rank": "512", "qk_rope_head_dim": 64},
        {"rope_scaling": {"type": "linear", "factor": 1e30}},
        {"rope_scaling": {"type": "linear", "factor": float("nan")}},
        {"rope_scaling": {"type": "linear", "factor": "8"}},
    ],
)
def test_an_absurd_number_is_a_reason_that_names_it(changes: dict[str, object]) -> None:
    with pytest.raises(ModelConfigError, match=r"config\.json"):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 512),
        ({"max_position_embeddings": None}, 2048),
        ({"max_position_embeddings": None, "n_positions": 1024}, 1024),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 2048),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 512),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 40}}, 512),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 256}, 256),
        ({"model_max_length": 131_072}, 131_072),
    ],
)
def test_the_context_is_what_vllm_makes_of_it(changes: dict[str, object], tokens: int) -> None:
    assert read_config(json.dumps({**SMALL, **changes}).encode()).context_tokens == tokens


def test_a_model_with_images_is_its_language_model() -> None:
    config = config_of("gemma-3-27b-it")
    assert (config.attention_heads, config.kv_heads, config.dtype) == (32, 16, "bfloat16")
    # Of gemma3, the length is scaled already.
    assert config.context_tokens == 131_072


@pytest.mark.parametrize("name", sorted(file.stem for file in CONFIGS.glob("*.json")))
def test_what_was_read_is_kept_whole(name: str) -> None:
    config = config_of(name)
    assert type(config).model_validate_json(config.model_dump_json()) == config


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted({key for file in CONFIGS.glob("*.json") for key in json.loads(file.read_bytes())})


@given(
    file=st.sampled_from(sorted(CONFIGS.glob("*.json"))), changes=st.dictionaries(st.sampled_from(KEYS), json_values)
)
def test_no_config_crashes(file: Path, changes: dict[str, object]) -> None:
    config = {**json.loads(file.read_bytes()), **changes}
    with suppress(ModelConfigError):
        read_config(json.dumps(config).encode())
