"""What the farm reads in a config.json is what vLLM reads there."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from math import prod
from types import SimpleNamespace
from typing import Any

import pytest

from specs.engines.model_cache import CacheLayers
from specs.engines.model_config import read_config
from specs.engines.model_defaults import CLASS_DEFAULTS, DEFAULT_KEYS
from specs.engines.model_size import tokens_in_flight
from tests.support.models import CONFIGS, HOLDINGS, config_of, size_of


def vllm_reads(name: str) -> Any:
    """The language model's configuration and vLLM's converter of it."""
    import vllm.config  # noqa: F401, PLC0415 - takes 20 s, and the next module needs it first
    from transformers import AutoConfig  # noqa: PLC0415
    from vllm.transformers_utils.config import get_hf_text_config  # noqa: PLC0415
    from vllm.transformers_utils.model_arch_config_convertor import (  # noqa: PLC0415
        MODEL_ARCH_CONFIG_CONVERTORS,
        ModelArchConfigConvertorBase,
    )

    published = json.loads((CONFIGS / f"{name}.json").read_bytes())
    published.pop("auto_map", None)
    config = AutoConfig.for_model(published.pop("model_type"), **published)
    text = get_hf_text_config(config)
    return text, MODEL_ARCH_CONFIG_CONVERTORS.get(config.model_type, ModelArchConfigConvertorBase)(config, text)


def vllm_keeps_a_token(layers: CacheLayers, *, latent: bool) -> int:
    """Bytes in half precision, by vLLM's own arithmetic."""
    import torch  # noqa: PLC0415
    from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec  # noqa: PLC0415

    if latent:
        spec = MLAAttentionSpec(block_size=16, num_kv_heads=1, head_size=layers.numbers, dtype=torch.bfloat16)
    else:
        spec = FullAttentionSpec(
            block_size=16, num_kv_heads=layers.heads, head_size=layers.numbers // 2, dtype=torch.bfloat16
        )
    return int(spec.page_size_bytes) * layers.layers // 16


UNLIKE = "gemma-4-31B-it"
"""Whose layers have heads of two kinds, which vLLM reads layer by layer."""


@pytest.mark.parametrize("name", sorted(HOLDINGS.keys() - {UNLIKE}))
def test_a_config_is_read_as_vllm_reads_it(name: str) -> None:
    text, theirs = vllm_reads(name)
    ours = config_of(name)
    latent = theirs.is_deepseek_mla()
    assert ours.attention_heads == theirs.get_total_num_attention_heads()
    assert ours.kv_heads == (1 if latent else theirs.get_total_num_kv_heads())
    assert {each.numbers for each in ours.cache} == {theirs.get_head_size() * (1 if latent else 2)}
    assert (ours.longest_tokens or ours.context_tokens) == theirs.derive_max_model_len_and_key()[0]
    assert ours.names_length
    kind = "sliding_attention" if getattr(text, "sliding_window", None) else "full_attention"
    kinds = Counter(getattr(text, "layer_types", None) or [kind] * text.num_hidden_layers)
    windows = {each.window: each.layers for each in ours.cache}
    assert windows.get(None, 0) == kinds["full_attention"]
    assert (ours.states.layers if ours.states is not None else 0) == kinds["linear_attention"]
    if kinds["sliding_attention"]:
        assert windows[text.sliding_window] == kinds["sliding_attention"]
    if kinds["chunked_attention"]:
        assert windows[text.attention_chunk_size] == kinds["chunked_attention"]
    kept = sum(vllm_keeps_a_token(each, latent=latent) for each in ours.cache)
    state = ours.states.sequence_bytes(2) if ours.states is not None else 0
    assert size_of(name).cache_bytes(1, "auto") == kept + state


def test_what_a_config_may_leave_out_is_as_in_the_class_that_reads_it() -> None:
    import vllm.config  # noqa: F401, PLC0415
    from transformers.models.auto import modeling_auto  # noqa: PLC0415
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415
    from vllm.model_executor.models.registry import ModelRegistry  # noqa: PLC0415
    from vllm.transformers_utils.config import _CONFIG_REGISTRY  # noqa: PLC0415

    served = ModelRegistry.get_supported_archs()
    kinds = set()
    for head in ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM"):
        for kind, named in getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES").items():
            if kind in CONFIG_MAPPING and served & {named, *(named if isinstance(named, tuple) else ())}:
                text = CONFIG_MAPPING[kind].sub_configs.get("text_config")
                kinds |= {kind, getattr(text, "model_type", kind)}
    # vLLM has classes of its own of some.
    classes = {kind: CONFIG_MAPPING[kind] for kind in kinds & CONFIG_MAPPING.keys() - _CONFIG_REGISTRY.keys()}
    installed = {}
    for kind, each in classes.items():
        default = {field.name: field.default for field in fields(each) if field.name not in each.attribute_map}
        if type(default.get("max_position_embeddings")) is int:
            of_keys = (default.get(key) for key in DEFAULT_KEYS)
            installed[kind] = tuple((value or None) if type(value) is int else None for value in of_keys)
    assert installed == CLASS_DEFAULTS


def test_layers_that_are_not_alike_are_read_as_vllm_reads_each() -> None:
    _, theirs = vllm_reads(UNLIKE)
    layers = [type(theirs)(*each) for each in theirs.get_per_layer_hf_configs()]
    read = Counter((each.get_total_num_kv_heads(), 2 * each.get_head_size()) for each in layers)
    assert read == {(each.heads, each.numbers): each.layers for each in config_of(UNLIKE).cache}


def test_layers_that_keep_one_vector_of_several_tokens_take_what_vllm_sets_aside_for_them() -> None:
    import torch  # noqa: PLC0415
    from vllm.config import VllmConfig, set_current_vllm_config  # noqa: PLC0415
    from vllm.models.deepseek_v4.attention import DeepseekV4Attention, DeepseekV4IndexerCache  # noqa: PLC0415
    from vllm.models.deepseek_v4.compressor import CompressorStateCache  # noqa: PLC0415
    from vllm.v1.attention.backends.mla.sparse_swa import DeepseekV4SWACache  # noqa: PLC0415

    cache = SimpleNamespace(block_size=256, cache_dtype="auto")

    def bytes_of(layer: Any, **said: Any) -> tuple[float, int | None]:
        """For each token, and of how many tokens at most."""
        own = SimpleNamespace(cache_config=cache, **said)
        spec = layer.get_kv_cache_spec(own, SimpleNamespace(cache_config=cache))
        return spec.page_size_bytes / spec.block_size, getattr(spec, "sliding_window", None)

    def vectors(ratio: int) -> float:
        kind: dict[str, Any] = {"kv_cache_dtype": "auto", "kv_cache_torch_dtype": torch.bfloat16}
        return bytes_of(DeepseekV4Attention, compress_ratio=ratio, head_dim=512, **kind)[0]

    def states(ratio: int, width: int) -> tuple[float, int | None]:
        with set_current_vllm_config(VllmConfig()):
            made = CompressorStateCache(2 * (1 + (ratio == 4)) * width, torch.float32, ratio, f"{ratio} {width}")
        spec = made.get_kv_cache_spec(SimpleNamespace(cache_config=cache))
        return spec.page_size_bytes / spec.block_size, spec.sliding_window

    swa = {"head_dim": 512, "dtype": torch.bfloat16, "window_size": 128, "block_size": 64, "bounded_replay": False}
    indexer, _ = bytes_of(DeepseekV4IndexerCache, compress_ratio=4, head_dim=132, dtype=torch.uint8)
    (chosen, window), (more, _), (others, longer) = states(4, 512), states(4, 128), states(128, 512)
    theirs = {bytes_of(DeepseekV4SWACache, **swa), (vectors(4) + indexer, None), (vectors(128), None)}
    theirs |= {(chosen + more, window), (others, longer)}
    config = {
        "model_type": "deepseek_v4", "num_hidden_layers": 3, "num_attention_heads": 64, "hidden_size": 4096,
        "head_dim": 512, "index_head_dim": 128, "sliding_window": 128, "compress_ratios": [0, 4, 128],
    }  # fmt: skip
    ours = read_config(json.dumps(config).encode())
    assert {(2 * each.numbers, each.window) for each in ours.cache} == theirs
    alone = SimpleNamespace(compress_ratio=1)
    assert DeepseekV4Attention.get_kv_cache_spec(alone, SimpleNamespace(cache_config=cache)) is None


@pytest.mark.parametrize("gpu_gib", [80, 141, 180])
def test_a_window_takes_what_vllm_sets_aside_for_it(gpu_gib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: PLC0415
    from vllm.config import VllmConfig  # noqa: PLC0415
    from vllm.engine import arg_utils  # noqa: PLC0415
    from vllm.usage.usage_lib import UsageContext  # noqa: PLC0415
    from vllm.v1.kv_cache_interface import SlidingWindowSpec  # noqa: PLC0415

    platform = SimpleNamespace(
        get_device_total_memory=lambda: gpu_gib * 2**30,
        get_device_name=lambda: "NVIDIA H100",
        is_tpu=lambda: False,
        is_cpu=lambda: False,
    )
    monkeypatch.setattr(arg_utils, "current_platform", platform)
    batched, _ = arg_utils.EngineArgs.get_batch_defaults(1)
    served: Any = SimpleNamespace(
        scheduler_config=SimpleNamespace(
            async_scheduling=True, max_num_batched_tokens=batched[UsageContext.OPENAI_API_SERVER]
        ),
        parallel_config=SimpleNamespace(pipeline_parallel_size=1, decode_context_parallel_size=1),
        use_v2_model_runner=False,
        model_config=SimpleNamespace(max_model_len=100_000),
    )
    for name in ("max_concurrent_batches", "max_in_flight_tokens"):
        setattr(served, name, getattr(VllmConfig, name).fget(served))
    window = next(each for each in config_of("gemma-3-27b-it").cache if each.window is not None)
    assert window.window is not None
    theirs = SlidingWindowSpec(
        block_size=16,
        num_kv_heads=window.heads,
        head_size=window.numbers // 2,
        dtype=torch.bfloat16,
        sliding_window=window.window,
    )
    size = size_of("gemma-3-27b-it")
    assert size.config is not None
    alone = size.model_copy(update={"config": size.config.model_copy(update={"cache": (window,)})})
    ours = alone.cache_bytes(100_000, "auto", in_flight=tokens_in_flight(gpu_gib))
    # But for two blocks at the ends, which are not filled.
    assert (
        0 <= window.layers * theirs.max_memory_usage_bytes(served) - ours < window.layers * 2 * theirs.page_size_bytes
    )


def test_a_state_beside_attention_is_as_large_as_vllm_lays_it_out() -> None:
    import vllm.config  # noqa: F401, PLC0415
    from transformers import FalconH1Config  # noqa: PLC0415
    from vllm.model_executor.models.falcon_h1 import FalconH1ForCausalLM  # noqa: PLC0415

    # Of a model of some 7 billion parameters.
    sizes = {"mamba_d_ssm": 3072, "mamba_n_heads": 24, "mamba_d_head": 128, "mamba_n_groups": 1, "mamba_d_state": 256}
    config = FalconH1Config(num_hidden_layers=44, hidden_size=3072, mamba_d_conv=4, mamba_chunk_size=128, **sizes)
    one_gpu = SimpleNamespace(
        model_config=SimpleNamespace(hf_config=config),
        parallel_config=SimpleNamespace(tensor_parallel_size=1),
        num_speculative_tokens=0,
    )
    shapes = FalconH1ForCausalLM.get_mamba_state_shape_from_config(one_gpu)
    ours = read_config(config.to_json_string(use_diff=False).encode())
    assert ours.states is not None
    assert ours.states.numbers == sum(prod(shape) for shape in shapes)
    assert (ours.states.layers, sum(each.layers for each in ours.cache)) == (44, 44)


def test_a_state_is_as_large_as_vllm_lays_it_out() -> None:
    import vllm.config  # noqa: F401, PLC0415
    from vllm.model_executor.layers.mamba.mamba_utils import MambaStateShapeCalculator  # noqa: PLC0415

    text, _ = vllm_reads("Qwen3-Next-80B-A3B-Instruct")
    shapes = MambaStateShapeCalculator.gated_delta_net_state_shape(
        1,
        text.linear_num_key_heads,
        text.linear_num_value_heads,
        text.linear_key_head_dim,
        text.linear_value_head_dim,
        text.linear_conv_kernel_dim,
    )
    ours = config_of("Qwen3-Next-80B-A3B-Instruct").states
    assert ours is not None
    assert ours.numbers == sum(prod(shape) for shape in shapes)


@pytest.mark.parametrize(
    "name",
    [
        "AI21-Jamba-1.5-Mini",
        "LFM2-1.2B",
        "Mamba-Codestral-7B-v0.1",
        "Nemotron-H-8B-Base-8K",
        "Zamba2-2.7B",
        "falcon-mamba-7b",
        "granite-4.0-h-small",
    ],
)
def test_a_state_of_mamba_and_its_kin_is_as_large_as_vllm_lays_it_out(name: str) -> None:
    text, theirs = vllm_reads(name)
    import torch  # noqa: PLC0415
    from vllm.config.cache import CacheConfig  # noqa: PLC0415
    from vllm.model_executor.models.registry import ModelRegistry  # noqa: PLC0415

    (architecture,) = json.loads((CONFIGS / f"{name}.json").read_bytes())["architectures"]
    model = ModelRegistry._try_load_model_cls(architecture)
    assert model is not None
    served = SimpleNamespace(
        model_config=SimpleNamespace(hf_config=text, dtype=torch.bfloat16),
        cache_config=CacheConfig(),
        parallel_config=SimpleNamespace(tensor_parallel_size=1),
        num_speculative_tokens=0,
    )
    ours = config_of(name)
    assert ours.states is not None
    shapes = model.get_mamba_state_shape_from_config(served)
    assert ours.states.numbers == sum(prod(shape) for shape in shapes)
    kinds = Counter(getattr(text, "layer_types", None) or text.layers_block_type)
    hybrid, full, conv = kinds["hybrid"], kinds["full_attention"], kinds["conv"]
    assert ours.states.layers == kinds["linear_attention"] + hybrid + conv
    assert sum(each.layers for each in ours.cache) == full + hybrid
    if ours.cache:
        (layers,) = ours.cache
        assert (layers.heads, layers.numbers) == (theirs.get_total_num_kv_heads(), 2 * theirs.get_head_size())
    if name == "Nemotron-H-8B-Base-8K":
        # vLLM has the larger part of it in float32.
        assert ours.states.number_bytes == 4
    else:
        assert ours.states.number_bytes is None
        assert set(model.get_mamba_state_dtype_from_config(served)) == {torch.bfloat16}
