"""A checkpoint that lacks parameters must not be measured: engines may load it all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from workers.errors import ModelError
from workers.snapshots.completeness import architecture_parameters, check_complete


def small_llama(folder: Path, *, tied: bool) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_a_whole_checkpoint_passes(tmp_path: Path, *, tied: bool) -> None:
    model = small_llama(tmp_path, tied=tied)
    check_complete(tmp_path)
    assert architecture_parameters(tmp_path) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("tensor", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight", "model.norm.weight"])
def test_a_missing_tensor_is_the_models_failure(tmp_path: Path, tensor: str) -> None:
    small_llama(tmp_path, tied=False)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors[tensor]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"holds [\d,]+ of the [\d,]+ parameters"):
        check_complete(tmp_path)


def test_a_quantized_checkpoint_is_left_to_the_engine(tmp_path: Path) -> None:
    small_llama(tmp_path, tied=True)
    config = json.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    save_file({}, tmp_path / "model.safetensors")
    check_complete(tmp_path)


def test_a_checkpoint_that_a_file_of_modelopt_says_is_quantized_is_left_to_the_engine(tmp_path: Path) -> None:
    small_llama(tmp_path, tied=True)
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')
    save_file({}, tmp_path / "model.safetensors")
    check_complete(tmp_path)


def test_an_architecture_that_transformers_does_not_know_is_left_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "from-another-world"}))
    save_file({}, tmp_path / "model.safetensors")
    check_complete(tmp_path)


@pytest.mark.parametrize("setting", [{"pad_token_id": 64}, {"rms_norm_eps": 1}, {"num_attention_heads": 0}], ids=str)
def test_a_config_of_which_transformers_makes_no_model_is_left_to_the_engine(
    tmp_path: Path, setting: dict[str, object]
) -> None:
    # Such as a token for padding that was added without a row for it, which vLLM takes.
    small_llama(tmp_path, tied=False)
    config = json.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, **setting}))
    check_complete(tmp_path)


@pytest.mark.parametrize("text", ["", "7", "[]", "[" * 200_000], ids=["nothing", "a number", "a list", "nested"])
def test_a_config_that_is_none_is_the_models_failure(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        check_complete(tmp_path)
