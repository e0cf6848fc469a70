"""A config.json is somebody's upload: what counts in it, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.engines.config_values import ModelConfigError
from specs.engines.model_config import MAX_CONFIG_BYTES, ModelConfig, read_config
from specs.engines.model_size import ModelSize
from specs.engines.quantization_methods import UNNAMED
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
        (b"{}", "has no num_hidden_layers"),
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
        {"intermediate_size": [16_384, -1]},
        {"intermediate_size": [[16_384]]},
        {"intermediate_size": [16_384] * 10_001},
        {"moe_intermediate_size": ["3072"]},
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


def shape(**changes: object) -> ModelConfig:
    return read_config(json.dumps({**SMALL, **changes}).encode())


def test_what_a_config_leaves_out_is_as_in_its_class() -> None:
    # gemma-3-4b-it, of which this is all that is published of the size of its language model.
    text = {"hidden_size": 2560, "intermediate_size": 10_240, "model_type": "gemma3_text", "num_hidden_layers": 34}
    text |= {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
    found = read_config(json.dumps({"model_type": "gemma3", "text_config": text}).encode())
    assert (found.attention_heads, found.kv_heads, {each.numbers for each in found.cache}) == (8, 4, {2 * 256})
    assert (found.context_tokens, found.longest_tokens, found.names_length) == (131_072, None, True)
    # Null is no default: the class works it out.
    worked_out = shape(model_type="gemma2", head_dim=None, num_key_value_heads=None)
    assert (worked_out.kv_heads, worked_out.cache[0].numbers) == (4, 2 * 16)


def test_widths_may_be_listed_by_layer() -> None:
    # gemma-3n-E4B-it, and Hunyuan-A13B-Instruct.
    text = {"model_type": "gemma3n_text", "num_hidden_layers": 35, "num_attention_heads": 8, "hidden_size": 2048}
    text |= {"intermediate_size": [16_384] * 35, "head_dim": 256, "num_key_value_heads": 2}
    assert read_config(json.dumps({"model_type": "gemma3n", "text_config": text}).encode()).intermediate == (16_384,)
    found = shape(model_type="hunyuan_v1_moe", intermediate_size=3072, moe_intermediate_size=[3072, 1536])
    assert found.intermediate == (1536, 3072)
    assert ModelSize(file_bytes=1, counts={}, config=found, config_problem="").can_be_split(4)


def test_a_length_that_nobody_names_is_not_known() -> None:
    unknown = shape(max_position_embeddings=None, model_type="of-somebodys-own")
    assert (unknown.context_tokens, unknown.names_length) == (2048, False)
    assert shape().names_length


def test_layers_that_were_left_without_attention_keep_nothing() -> None:
    # Llama-3.3-Nemotron-Super: number_key_value_heads is null, and each block says its own.
    def block(**attention: object) -> dict[str, object]:
        return {"attention": {"n_heads_in_group": None, "no_op": False, "replace_with_linear": False, **attention}}

    blocks = [block(n_heads_in_group=2), block(no_op=True), block(n_heads_in_group=4), block(replace_with_linear=True)]
    found = shape(model_type="nemotron-nas", num_key_value_heads=None, num_hidden_layers=4, block_configs=blocks)
    assert {(each.heads, each.layers) for each in found.cache} == {(2, 1), (1, 1)}
    assert found.kv_heads == 1
    wrong: list[object] = [None, [1], [{"attention": []}], [block(n_heads_in_group=0)], [block(n_heads_in_group="2")]]
    for broken in wrong:
        with pytest.raises(ModelConfigError, match=r"config\.json"):
            shape(model_type="nemotron-nas", block_configs=broken)


def test_layers_that_look_into_what_others_keep_keep_nothing() -> None:
    # The last two of six; of the others one looks at everything, in heads as wide as that takes.
    kinds = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "sliding_attention"]
    small = {"model_type": "gemma4_text", "num_hidden_layers": 6, "num_key_value_heads": 2, "head_dim": 256}
    found = shape(**small, layer_types=[*kinds, "full_attention"], sliding_window=512, num_kv_shared_layers=2)
    assert {(each.layers, each.heads, each.numbers, each.window) for each in found.cache} == {
        (1, 2, 1024, None), (3, 2, 512, 512),
    }  # fmt: skip
    # Gemma 3n E4B: 15 of 35, whether or not it says so.
    for said in ({}, {"num_kv_shared_layers": 15, "layer_types": 7 * [*4 * ["sliding_attention"], "full_attention"]}):
        gemma3n = shape(model_type="gemma3n_text", num_hidden_layers=35, sliding_window=512, **said)
        assert {each.window: each.layers for each in gemma3n.cache} == {None: 4, 512: 16}


@pytest.mark.parametrize(
    ("said", "layers"),
    [
        ({}, {None: 2, 8192: 6}),
        ({"no_rope_layers": []}, {None: 2, 8192: 6}),
        ({"no_rope_layers": [1, 0, 1, 0, 1, 0, 1, 0]}, {None: 4, 8192: 4}),
        ({"layer_types": [*7 * ["chunked_attention"], "full_attention"]}, {None: 1, 8192: 7}),
        ({"attention_chunk_size": None}, {None: 8}),
    ],
)
def test_layers_that_look_within_chunks_are_those_whose_places_are_turned(
    said: dict[str, object], layers: dict[int | None, int]
) -> None:
    small: dict[str, object] = {"num_hidden_layers": 8, "attention_chunk_size": 8192}
    found = shape(model_type="llama4_text", **{**small, **said})
    assert {each.window: each.layers for each in found.cache} == layers


def test_what_chooses_among_tokens_is_kept_beside_the_latent_vector() -> None:
    latent = {"model_type": "deepseek_v32", "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    (without,), (chosen,) = shape(**latent).cache, shape(**latent, index_topk=2048, index_head_dim=128).cache
    # 132 bytes.
    assert (without.numbers, chosen.numbers) == (576, 576 + 66)


DEEPSEEK_V4 = {
    "model_type": "deepseek_v4", "num_hidden_layers": 5, "head_dim": 512, "index_head_dim": 128, "sliding_window": 128,
    "num_key_value_heads": 1,
}  # fmt: skip


def test_what_is_kept_of_several_tokens_together_takes_its_share_of_each() -> None:
    # The last predicts further tokens.
    found = shape(**DEEPSEEK_V4, compress_ratios=[0, 1, 4, 128, 4, 0])
    assert {(each.layers, each.heads, each.numbers, each.window) for each in found.cache} == {
        (5, 1, 512, 128),
        # A quarter of 512 numbers and of an indexer's 132 bytes; one of 128.
        (2, 1, 128 + 17, None), (1, 1, 4, None),
        # In 32 bits, keys and scores of groups that overlap, and of those that do not.
        (2, 1, 2 * 2 * 2 * (512 + 128), 8), (1, 1, 2 * 2 * 512, 128),
    }  # fmt: skip
    size = ModelSize(file_bytes=1, counts={}, config=found, config_problem="")
    assert size.cache_bytes(200_001, "auto") - size.cache_bytes(200_000, "auto") == 2 * (2 * 145 + 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"compress_ratios": [4] * 4},
        {"compress_ratios": [4] * 10_001},
        {"compress_ratios": [4, 4, 4, 4, -1]},
        {"compress_ratios": [4, 4, 4, 4, 4.0]},
        {"compress_ratios": [4, 4, 4, 4, True]},
        {"compress_ratios": "44444"},
        {"compress_ratios": None},
        # Nobody else reads it so.
        {"compress_ratios": [2] * 5, "model_type": "deepseek_v41"},
        {"compress_ratios": [4] * 5, "model_type": "llama"},
    ],
)
def test_ratios_that_are_none_make_no_model_smaller_than_it_is(changes: dict[str, object]) -> None:
    (kept,) = shape(**{**DEEPSEEK_V4, **changes}).cache
    assert (kept.layers, kept.numbers, kept.window) == (5, 2 * 512, None)


def test_a_layer_of_two_attentions_keeps_keys_twice() -> None:
    latent = {"model_type": "longcat_flash", "kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_layers": 28}
    assert [each.layers for each in shape(**latent, num_hidden_layers=None).cache] == [56]
    assert [each.layers for each in shape(**latent, num_hidden_layers=56).cache] == [56]


LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "num_hidden_layers": 8,
}


@pytest.mark.parametrize(
    ("changes", "with_state"),
    [
        ({"model_type": "qwen3_next"}, 6),
        ({"model_type": "qwen3_next", "full_attention_interval": 2}, 4),
        ({"model_type": "qwen3_5_text", "layer_types": ["linear_attention"] * 3 + ["full_attention"] * 5}, 3),
        # Nothing reads such keys in a Llama: it is not to be taken for smaller than it is.
        ({"model_type": "llama", "layer_types": ["linear_attention"] * 8}, 0),
        ({"model_type": ["qwen3_next"]}, 0),
        ({"model_type": "qwen3_next", "linear_num_key_heads": -1}, 0),
        ({"model_type": "qwen3_next", "linear_value_head_dim": None}, 0),
    ],
)
def test_layers_of_linear_attention_keep_a_state_and_no_keys(changes: dict[str, object], with_state: int) -> None:
    found = shape(**{**LINEAR, **changes})
    assert (found.states.layers if found.states is not None else 0) == with_state
    assert sum(each.layers for each in found.cache) == 8 - with_state


@pytest.mark.parametrize(
    ("name", "with_keys", "with_state", "numbers"),
    [
        # Channels × (steps of the convolution and numbers of the state).
        ("falcon-mamba-7b", 0, 64, 8192 * (3 + 16)),
        ("AI21-Jamba-1.5-Mini", 4, 28, 8192 * (3 + 16)),
        # (Channels + 2 × groups × state) × steps, and heads × width × state.
        ("Mamba-Codestral-7B-v0.1", 0, 64, (8192 + 2 * 8 * 128) * 3 + 128 * 64 * 128),
        # Every second layer is a feed-forward one, and keeps nothing.
        ("Nemotron-H-8B-Base-8K", 4, 24, (8192 + 2 * 8 * 128) * 3 + 128 * 64 * 128),
        ("granite-4.0-h-small", 4, 36, (8192 + 2 * 128) * 3 + 128 * 64 * 128),
        # Nine layers have both.
        ("Zamba2-2.7B", 9, 54, (5120 + 2 * 64) * 3 + 80 * 64 * 64),
        ("LFM2-1.2B", 6, 10, 2048 * 2),
    ],
)
def test_layers_of_mamba_and_its_kin_keep_a_state_and_no_keys(
    name: str, with_keys: int, with_state: int, numbers: int
) -> None:
    found = config_of(name)
    assert found.states is not None
    assert (found.states.layers, found.states.numbers) == (with_state, numbers)
    assert sum(each.layers for each in found.cache) == with_keys
    assert found.states.kept == (2 if with_keys else 1)


MAMBA = {
    "model_type": "falcon_h1",
    "num_hidden_layers": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 32,
    "mamba_d_conv": 4,
    "mamba_d_ssm": 64,
}


def test_layers_with_a_state_beside_their_attention_keep_both() -> None:
    found = shape(**MAMBA)
    assert found.states is not None
    assert (found.states.layers, found.states.numbers) == (8, (64 + 2 * 32) * 3 + 4 * 16 * 32)
    assert sum(each.layers for each in found.cache) == 8
    assert shape(**{**MAMBA, "mamba_n_heads": None}).states is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "granitemoehybrid", "layer_types": ["mamba"] * 4 + ["attention"] * 4},
        {"model_type": "granitemoehybrid", "layer_types": "mamba", "mamba_d_head": "auto", "mamba_expand": 1},
        {"model_type": "nemotron_h", "hybrid_override_pattern": 5},
        {"model_type": "nemotron_h", "layers_block_type": [["M"]] * 8},
        {"model_type": "jamba", "attn_layer_period": 0, "attn_layer_offset": []},
        {"model_type": "lfm2", "full_attn_idxs": [[], -1, 10**30], "conv_L_cache": 3},
        {"model_type": "zamba2", "layers_block_type": [None] * 9000},
    ],
)
def test_whatever_stands_where_layers_are_told_apart_is_no_crash(changes: dict[str, object]) -> None:
    found = shape(**{**MAMBA, **changes})
    with_state = found.states.layers if found.states is not None else 0
    assert 8 <= with_state + sum(each.layers for each in found.cache) <= 16


def test_a_model_whose_layers_are_named_need_not_say_how_many_there_are() -> None:
    published = json.loads((CONFIGS / "Nemotron-H-8B-Base-8K.json").read_bytes())
    kinds = {"M": "mamba", "-": "mlp", "*": "attention"}
    published["layers_block_type"] = [kinds[each] for each in published.pop("hybrid_override_pattern")]
    del published["num_hidden_layers"]
    assert read_config(json.dumps(published).encode()) == config_of("Nemotron-H-8B-Base-8K")


AWQ = {"quant_method": "awq", "group_size": 128, "bits": 4}
BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}


def compressed(**weights: object) -> dict[str, object]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


@pytest.mark.parametrize(
    ("quantization", "numbers"),
    [
        (AWQ, [1, 2, 4]),
        ({**AWQ, "quant_method": "gptq"}, [1, 2, 4]),
        (BLOCKS, [1, 2, 4]),
        (compressed(type="int", strategy="group", group_size=128), [1, 2, 4]),
        (compressed(type="float", strategy="block", block_structure=[128, 128]), [1, 2, 4]),
        # A row is a group, or what is left over is padded.
        ({**AWQ, "group_size": -1}, [1, 2, 4, 8]),
        (compressed(type="float", strategy="group", group_size=16), [1, 2, 4, 8]),
        (compressed(type="float", strategy="channel"), [1, 2, 4, 8]),
        ({"quant_method": "mxfp4"}, [1, 2, 4, 8]),
        # Whatever stands there, it is no crash.
        ({"quant_method": "fp8", "weight_block_size": "128"}, [1, 2, 4, 8]),
        ({"quant_method": 3, "config_groups": [1]}, [1, 2, 4, 8]),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": 1, "b": {"weights": []}}}, [1, 2, 4, 8]),
        (None, [1, 2, 4, 8]),
    ],
)
def test_gpus_share_whole_groups_of_what_is_quantised(quantization: object, numbers: list[int]) -> None:
    # Qwen2.5-14B: 13824 is 108 × 128, of which each of eight GPUs would have thirteen and a half.
    wide = {"hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 8, "intermediate_size": 13824}
    size = ModelSize(file_bytes=1, counts={}, config=shape(**wide, quantization_config=quantization), config_problem="")
    assert [gpus for gpus in range(1, 9) if size.can_be_split(gpus)] == numbers


@pytest.mark.parametrize(
    ("model_type", "vision", "numbers"),
    [
        # GLM-4.1V, GLM-4.5V: 12 heads, which are not shared among eight.
        ("glm4v", {"num_heads": 12}, [1, 2, 4]),
        ("glm4v_moe", {}, [1, 2, 4]),
        ("glm4v_moe", {"num_attention_heads": 16}, [1, 2, 4, 8]),
        ("glm4v", None, [1, 2, 4]),
        ("glm_ocr", {}, [1, 2, 4, 8]),
        # Of others every GPU may hold what looks at images whole.
        ("gemma3", {"num_attention_heads": 12}, [1, 2, 4, 8]),
    ],
)
def test_gpus_share_the_heads_that_look_at_images(model_type: str, vision: object, numbers: list[int]) -> None:
    text = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 13_824}
    whole = {"model_type": model_type, "text_config": {**SMALL, **text}, "vision_config": vision}
    size = ModelSize(file_bytes=1, counts={}, config=read_config(json.dumps(whole).encode()), config_problem="")
    assert [gpus for gpus in range(1, 9) if size.can_be_split(gpus)] == numbers


@pytest.mark.parametrize(
    ("said", "method"),
    [
        ({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}, "modelopt"),
        ({"quantization": {"quant_algo": "nvfp4", "modelopt_quant_config": {}}}, "modelopt_fp4"),
        # What is not known is left to the engine.
        ({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "W3A5"}}, UNNAMED),
        ({"quantization": {"quant_algo": ["FP8"]}}, UNNAMED),
        ({"quantization": 3}, UNNAMED),
    ],
)
def test_a_file_of_modelopt_says_what_a_config_does_not(said: object, method: str) -> None:
    assert read_config(json.dumps(SMALL).encode(), json.dumps(said).encode()).quantization == method


@pytest.mark.parametrize(
    "said", [b"", b"7", b"[" * 200_000, b" " * (2**20 + 1)], ids=["nothing", "7", "nested", "long"]
)
def test_a_file_of_modelopt_that_is_none_is_a_reason(said: bytes) -> None:
    with pytest.raises(ModelConfigError, match=r"^hf_quant_config\.json is "):
        read_config(json.dumps(SMALL).encode(), said)


def test_a_block_that_is_left_over_is_shared_by_nobody() -> None:
    narrow = {"hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864}
    assert shape(**narrow, quantization_config=AWQ).groups == (7, 38)
    # Keys of one head are half a block.
    assert shape(**narrow, quantization_config=BLOCKS).groups == (1, 7, 38)
    assert shape(**{**narrow, "intermediate_size": 4800}, quantization_config=AWQ).groups == (1, 7)


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
