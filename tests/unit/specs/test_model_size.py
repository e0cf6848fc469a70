"""What well-known models take of memory, against what their authors publish."""

from __future__ import annotations

import json

import pytest

from specs.engines.model_config import read_config
from specs.engines.model_size import ModelSize, tokens_in_flight
from specs.engines.model_weights import EngineDtype
from tests.support.models import CONFIGS, GB, HOLDINGS, config_of, size_of

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "dtype", "gigabytes"),
    [
        ("SmolLM2-135M-Instruct", "auto", 0.269),
        ("SmolLM2-135M-Instruct", "float32", 0.538),
        ("Meta-Llama-3-8B", "auto", 16.06),
        ("Meta-Llama-3-70B", "auto", 141.1),
        # Published in float32, served in half of it.
        ("gemma-2-9b", "auto", 18.48),
        ("gemma-2-9b", "float32", 36.97),
        ("Mixtral-8x7B-v0.1", "auto", 93.4),
        # Quantised: as they are, whatever policy casts others to.
        ("Qwen2.5-72B-Instruct-AWQ", "auto", 41.6),
        ("Qwen2.5-72B-Instruct-AWQ", "float32", 41.6),
        ("gpt-oss-120b", "bfloat16", 65.2),
        ("DeepSeek-V3", "auto", 688.6),
    ],
)
def test_weights_take_what_is_published(name: str, dtype: EngineDtype, gigabytes: float) -> None:
    assert size_of(name).weights_bytes(dtype) / GB == pytest.approx(gigabytes, rel=0.005)


def test_what_farms_have_stored_is_still_read() -> None:
    stored = """{"file_bytes": 93405709320, "counts": {"BF16": 46702792704}, "config": {"model_type": "mixtral",
      "dtype": "bfloat16", "quantization": null, "attention_heads": 32, "kv_heads": 8, "intermediate": [14336],
      "context_tokens": 32768, "cache": [{"layers": 32, "heads": 8, "numbers": 256, "window": null}],
      "experts": {"count": 8, "chosen": 2, "parameters": 45097156608, "other_parameters": 1605369856}},
      "config_problem": ""}"""
    assert ModelSize.model_validate_json(stored) == size_of("Mixtral-8x7B-v0.1")


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        # Layers × heads of keys × their width × 2 (keys and values) × 2 bytes.
        ("SmolLM2-135M-Instruct", 30 * 3 * 64 * 4),
        ("Meta-Llama-3-8B", 32 * 8 * 128 * 4),
        ("Meta-Llama-3-70B", 80 * 8 * 128 * 4),
        ("Mixtral-8x7B-v0.1", 32 * 8 * 128 * 4),
        ("Qwen2.5-72B-Instruct-AWQ", 80 * 8 * 128 * 4),
        ("gpt-oss-120b", 36 * 8 * 64 * 4),
        ("gemma-2-9b", 42 * 8 * 256 * 4),
        ("gemma-3-27b-it", 62 * 16 * 128 * 4),
        # 70 KB: DeepSeek-V2 (2024), table 1 in elements; 512 of the latent vector and 64 of the rotary key.
        ("DeepSeek-V3", 61 * (512 + 64) * 2),
    ],
)
def test_a_token_takes_the_keys_and_values_of_every_layer(name: str, bytes_per_token: int) -> None:
    assert size_of(name).cache_bytes(1, "auto") == bytes_per_token
    assert size_of(name).cache_bytes(1, "float32") == 2 * bytes_per_token


@pytest.mark.parametrize(
    ("name", "layers_with_window", "window"),
    [
        ("gpt-oss-120b", 18, 128),
        ("gemma-2-9b", 21, 4096),
        ("gemma-3-27b-it", 52, 1024),
        ("Llama-4-Scout-17B-16E-Instruct", 36, 8192),
    ],
)
@pytest.mark.parametrize(("gpu_gib", "in_flight"), [(80, 2 * 8192), (141, 2 * 8192), (180, 2 * 16384)])
def test_layers_with_a_window_hold_no_more_than_it_and_what_is_worked_on(
    name: str, layers_with_window: int, window: int, gpu_gib: float, in_flight: int
) -> None:
    size = size_of(name)
    tokens = 100_000
    assert tokens_in_flight(gpu_gib) == in_flight
    a_layer = size.cache_bytes(1, "auto") / sum(each.layers for each in config_of(name).cache)
    whole = a_layer * tokens * (sum(each.layers for each in config_of(name).cache) - layers_with_window)
    one, two = (size.cache_bytes(tokens, "auto", sequences=count, in_flight=in_flight) for count in (1, 2))
    assert one == whole + a_layer * layers_with_window * (window - 1 + in_flight)
    # Another sequence shares what is worked on.
    more = two - one
    assert more == whole + a_layer * layers_with_window * window


def test_layers_with_a_state_take_the_same_for_every_length() -> None:
    size = size_of("Qwen3-Next-80B-A3B-Instruct")
    # Keys and values: 12 of 48 layers. The others: 32 heads of 128 × 128, and 3 steps of a convolution over 8192.
    state = 36 * (32 * 128 * 128 + 3 * 8192) * 4 * 2
    assert size.cache_bytes(100_000, "auto") == 12 * 2 * 256 * 4 * 100_000 + state
    assert size.cache_bytes(1000, "auto", gpus=2, sequences=3) == (12 * 2 * 256 * 4 * 3000 + state * 3) // 2


def test_a_model_without_attention_keeps_one_state_of_the_numbers_that_are_served() -> None:
    size = ModelSize(file_bytes=1, counts={}, config=config_of("Mamba-Codestral-7B-v0.1"), config_problem="")
    state = 64 * ((8192 + 2 * 8 * 128) * 3 + 128 * 64 * 128)
    assert size.cache_bytes(100_000, "auto", sequences=3) == 3 * state * 2
    assert size.cache_bytes(10, "float32", gpus=2) == state * 4 // 2
    assert [gpus for gpus in range(1, 17) if size.can_be_split(gpus)] == [1, 2, 4, 8, 16]


def test_layers_that_look_at_everything_have_heads_of_their_own() -> None:
    size = size_of("gemma-4-31B-it")
    # 10 layers of 4 heads of 512, and 50 of 16 of 256.
    assert size.cache_bytes(1, "auto") == 10 * 4 * 512 * 4 + 50 * 16 * 256 * 4
    assert size.cache_bytes(200_001, "auto") - size.cache_bytes(200_000, "auto") == 10 * 4 * 512 * 4


def test_a_window_that_the_config_switches_off_is_none() -> None:
    assert [each.window for each in config_of("Qwen2.5-72B-Instruct-AWQ").cache] == [None]


def test_gpus_share_the_heads_and_each_holds_a_latent_vector_whole() -> None:
    llama, deepseek = size_of("Meta-Llama-3-70B"), size_of("DeepSeek-V3")
    assert llama.cache_bytes(1000, "auto", 4) == llama.cache_bytes(1000, "auto") // 4
    assert llama.cache_bytes(1000, "auto", 16) == llama.cache_bytes(1000, "auto") // 8
    assert deepseek.cache_bytes(1000, "auto", 8) == deepseek.cache_bytes(1000, "auto")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("SmolLM2-135M-Instruct", [1, 3]),
        ("Meta-Llama-3-8B", [1, 2, 4, 8, 16]),
        ("gpt-oss-120b", [1, 2, 4, 8, 16]),
        ("DeepSeek-V3", [1, 2, 4, 8, 16]),
        # Its experts' 1536 rows are 12 blocks of 128.
        ("Qwen3-235B-A22B-Instruct-2507-FP8", [1, 2, 4]),
        # 29696 numbers of a row are 232 groups.
        ("Qwen2.5-72B-Instruct-AWQ", [1, 2, 4, 8]),
        ("Qwen3-Next-80B-A3B-Instruct", [1, 2, 4, 8, 16]),
    ],
)
def test_a_model_is_split_as_its_heads_allow(name: str, numbers: list[int]) -> None:
    assert [gpus for gpus in range(1, 17) if size_of(name).can_be_split(gpus)] == numbers


@pytest.mark.parametrize("count", [8_877_000_000, 71_010_000_000])
def test_packed_numbers_count_by_their_bytes_however_they_were_counted(count: int) -> None:
    size = size_of("Qwen2.5-72B-Instruct-AWQ").model_copy(update={"counts": {"I32": count, "F16": 3_040_000_000}})
    assert size.weights_bytes("auto") == 41_600_000_000
    unsaid = size.model_copy(update={"config": config_of("Meta-Llama-3-70B")})
    assert unsaid.weights_bytes("auto") == 41_600_000_000


def test_counts_that_contradict_the_files_are_not_believed() -> None:
    few = size_of("Meta-Llama-3-8B").model_copy(update={"counts": {"F32": 10}})
    assert few.weights_bytes("auto") == few.file_bytes
    none = ModelSize.of_files(16 * GB, "it has no config.json")
    assert none.weights_bytes("auto") == 16 * GB


@pytest.mark.parametrize(
    ("name", "billions", "active_billions"),
    [
        ("Mixtral-8x7B-v0.1", 46.7, 12.9),
        ("Qwen3-235B-A22B-Instruct-2507-FP8", 235, 22),
        # Published as 671 and 37, and as 117 and 5.1: of the latter the embedding (0.6) is left out.
        ("DeepSeek-V3", 671, 37.6),
        ("gpt-oss-120b", 116.8, 5.7),
    ],
)
def test_experts_are_all_in_memory_and_few_of_them_work(name: str, billions: float, active_billions: float) -> None:
    experts = config_of(name).experts
    assert experts is not None
    assert (experts.parameters + experts.other_parameters) / GB == pytest.approx(billions, rel=0.01)
    assert experts.part_read(1) == pytest.approx(active_billions / billions, rel=0.02)
    assert experts.part_read(1) < experts.part_read(32) < experts.part_read(10_000) <= 1


def test_keys_that_its_architecture_does_not_read_make_no_experts() -> None:
    claimed = json.loads((CONFIGS / "Meta-Llama-3-8B.json").read_bytes())
    claimed |= {"num_local_experts": 100_000, "num_experts_per_tok": 1, "model_type": "mixtral"}
    assert read_config(json.dumps(claimed).encode()).experts is None


def test_other_models_have_no_experts() -> None:
    dense = {name for name in HOLDINGS if config_of(name).experts is None}
    assert HOLDINGS.keys() - dense == {
        "Mixtral-8x7B-v0.1", "DeepSeek-V3", "gpt-oss-120b", "Qwen3-235B-A22B-Instruct-2507-FP8",
    }  # fmt: skip
