"""What a model's layers keep of each token while they answer: keys and values, as vLLM 0.32 lays them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from specs.contract import Contract
from specs.engines.config_values import (
    MAX_CONTEXT_TOKENS,
    MAX_HEADS,
    MAX_LAYERS,
    MAX_LISTED,
    MAX_WIDTH,
    ModelConfigError,
    name,
    number,
)

_KV_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
# Whose keys and values vLLM keeps as one latent vector (`is_deepseek_mla`), if the config has a kv_lora_rank.
# DeepSeek-V4 has none (`_compressed`).
_LATENT = frozenset(
    {
        "axk1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note", "glm5_next", "glm5_next_text",
        "glm_moe_dsa", "glm4_moe_lite", "kimi_k2", "kimi_linear", "longcat_flash", "pangu_ultra_moe", "bailing_hybrid",
        "hy_v4",
    }
)  # fmt: skip
# Every so many layers one looks at the whole context, where the config lists no layer_types: transformers'
# Gemma2Config, Gemma3TextConfig, Gemma3nTextConfig, Cohere2Config, GptOssConfig and Llama4TextConfig.
_PATTERNS: Mapping[str, int] = {
    "gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma3n_text": 5, "cohere2": 4, "gpt_oss": 2, "llama4_text": 4,
}  # fmt: skip
# Whose last layers look into what earlier ones keep, and how many do where the config does not say
# (`num_kv_shared_layers`): transformers' Gemma3nTextConfig and Gemma4TextConfig.
_SHARED_LAYERS: Mapping[str, int] = {"gemma3n_text": 15, "gemma4_text": 0, "gemma4_unified_text": 0}
# Whose layers that look at everything have heads of their own: transformers' Gemma4TextConfig.
_WIDER_WHOLE = frozenset({"gemma4_text", "gemma4_unified_text"})
# A window on every layer, without a list.
_ALL_SLIDING = frozenset({"mistral", "mixtral", "phi3", "starcoder2"})


class CacheLayers(Contract):
    """Layers that keep their keys and values alike."""

    layers: Annotated[int, Field(gt=0)]
    heads: Annotated[int, Field(gt=0)]
    """That keys and values are kept for. A GPU of several holds its share of them, but one at least."""

    numbers: Annotated[int, Field(gt=0)]
    """For each token and head: keys and values."""

    window: Annotated[int, Field(gt=0)] | None
    """Tokens back that a layer looks; None is all."""


def cache_layers(
    config: Mapping[str, Any], layers: int, heads: int, kv_heads: int, hidden: int
) -> tuple[CacheLayers, ...]:
    """Of so many layers that have attention.

    Raises:
        ModelConfigError: what decides it is missing, or absurd.
    """
    if is_latent(config):
        # One latent vector and one rotary key for all heads: every GPU holds them whole.
        latent = number(config, ("kv_lora_rank",), MAX_WIDTH) + number(config, ("qk_rope_head_dim",), MAX_WIDTH)
        numbers = latent + (_indexer(config) if config.get("index_topk") is not None else 0)
        return (CacheLayers(layers=layers, heads=1, numbers=numbers, window=None),)
    ratios = _compress_ratios(config, layers)
    if ratios:
        return tuple(_compressed(config, ratios))
    numbers = 2 * head_width(config, hidden, heads)
    if name(config, "model_type") == "nemotron-nas":
        kept = Counter(_heads_of_blocks(config, heads))
        return tuple(CacheLayers(layers=kept[each], heads=each, numbers=numbers, window=None) for each in sorted(kept))
    whole_heads, whole_numbers = kv_heads, numbers
    shared = _SHARED_LAYERS.get(name(config, "model_type") or "")
    if shared is not None:
        layers = max(layers - number(config, ("num_kv_shared_layers",), MAX_LAYERS, shared, least=0), 1)
    if name(config, "model_type") in _WIDER_WHOLE:
        whole_numbers = 2 * number(config, ("global_head_dim",), MAX_WIDTH, 512)
        if config.get("attention_k_eq_v") is True:
            whole_heads = number(config, ("num_global_key_value_heads",), MAX_HEADS, kv_heads)
    window, sliding = _sliding(config, layers)
    found = ((layers - sliding, whole_heads, whole_numbers, None), (sliding, kv_heads, numbers, window))
    return tuple(
        CacheLayers(layers=count, heads=each, numbers=wide, window=width) for count, each, wide, width in found if count
    )


def _indexer(config: Mapping[str, Any]) -> int:
    """What chooses among tokens, of DeepSeek-V3.2 and its kin, as numbers of 16 bits.

    A key in 8 bits, with a scale in 32 for each 128 of it: `DeepseekV32IndexerCache` in
    vllm/model_executor/models/deepseek_v2.py.
    """
    width = number(config, ("index_head_dim",), MAX_WIDTH)
    return -(-(width + 4 * (width // 128)) // 2)


def _compress_ratios(config: Mapping[str, Any], layers: int) -> Sequence[int]:
    """Of each layer of DeepSeek-V4; none of other models, or where they are no sensible numbers.

    DeepSeek-V4.1 means other layers by the same numbers, and is taken to keep every token.
    """
    ratios = config.get("compress_ratios")
    if name(config, "model_type") != "deepseek_v4" or not isinstance(ratios, list):
        return ()
    if not layers <= len(ratios) <= MAX_LISTED:
        return ()
    # What comes after the layers predicts further tokens, and is not loaded.
    found = ratios[:layers]
    return found if all(type(each) is int and 0 <= each <= MAX_CONTEXT_TOKENS for each in found) else ()


def _compressed(config: Mapping[str, Any], ratios: Sequence[int]) -> Iterator[CacheLayers]:
    """One vector for so many tokens as a layer's ratio says, and what is needed until it is made.

    vLLM's in vllm/models/deepseek_v4/attention.py and compressor.py, with vectors of 16 bits: the 8 that it takes on
    most GPUs are not known beforehand. Its states have 32.
    """
    width = number(config, ("head_dim",), MAX_WIDTH)
    window = number(config, ("sliding_window",), MAX_CONTEXT_TOKENS)
    yield CacheLayers(layers=len(ratios), heads=1, numbers=width, window=window)
    for ratio, layers in sorted(Counter(ratios).items()):
        if ratio <= 1:
            # A window and nothing else.
            continue
        numbers, made, overlap = -(-width // ratio), width, 1
        if ratio == 4:
            # These alone have what chooses among their vectors, and each is made of two groups.
            numbers += -(-_indexer(config) // ratio)
            made, overlap = width + number(config, ("index_head_dim",), MAX_WIDTH), 2
        yield CacheLayers(layers=layers, heads=1, numbers=numbers, window=None)
        # Values and scores.
        states = 2 * overlap * made * 2
        yield CacheLayers(layers=layers, heads=1, numbers=states, window=overlap * ratio)


def _heads_of_blocks(config: Mapping[str, Any], heads: int) -> Iterator[int]:
    """Of each layer that has attention, of models whose search left it out of some: `block_configs`."""
    blocks = config.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) > MAX_LAYERS:
        raise ModelConfigError(f"config.json has no block_configs, or more than {MAX_LAYERS}")
    for block in blocks:
        attention = block.get("attention") if isinstance(block, dict) else None
        if not isinstance(attention, dict):
            raise ModelConfigError("config.json: block_configs has a block without attention")
        if attention.get("no_op") is not True and attention.get("replace_with_linear") is not True:
            yield max(heads // number(attention, ("n_heads_in_group",), MAX_HEADS), 1)


def is_latent(config: Mapping[str, Any]) -> bool:
    """Whether one latent vector stands for the keys and values of all heads."""
    return name(config, "model_type") in _LATENT and config.get("kv_lora_rank") is not None


def head_width(config: Mapping[str, Any], hidden: int, heads: int) -> int:
    """Numbers of a head's key."""
    # Some write 0 for what they leave to be worked out.
    rope, nope = (number(config, (key,), MAX_WIDTH, 0, least=0) for key in ("qk_rope_head_dim", "qk_nope_head_dim"))
    own = number(config, ("head_dim", "hidden_size_per_head", "attention_head_dim"), MAX_WIDTH, 0, least=0)
    return own or (rope + nope if rope and nope else max(hidden // heads, 1))


def kv_heads_of(config: Mapping[str, Any], heads: int) -> int:
    """That keys and values are kept for, of so many that look."""
    if config.get("multi_query") is True and config.get("new_decoder_architecture") is not True:
        return 1
    if name(config, "model_type") == "nemotron-nas":
        return min(_heads_of_blocks(config, heads), default=heads)
    return number(config, _KV_HEADS, MAX_HEADS, heads)


def _sliding(config: Mapping[str, Any], layers: int) -> tuple[int | None, int]:
    """Tokens of the window, and how many layers have it. Layers of a kind that is not known look at everything."""
    window = number(config, ("sliding_window", "attention_chunk_size"), MAX_CONTEXT_TOKENS, 0, least=0)
    if not window or config.get("use_sliding_window") is False:
        return None, 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and len(kinds) <= MAX_LISTED:
        named = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds[:layers])
        return window, named
    turned = config.get("no_rope_layers")
    if name(config, "model_type") == "llama4_text" and isinstance(turned, list) and 0 < len(turned) <= MAX_LISTED:
        # 0 of each that looks at everything; none of them is as in the class.
        return window, sum(each != 0 for each in turned[:layers])
    pattern = number(
        config, ("sliding_window_pattern",), MAX_LAYERS, _PATTERNS.get(name(config, "model_type") or "", 0)
    )
    if pattern:
        return window, layers - layers // pattern
    if config.get("use_sliding_window") is True:
        return window, max(layers - number(config, ("max_window_layers",), MAX_LAYERS, layers, least=0), 0)
    return (window, layers) if name(config, "model_type") in _ALL_SLIDING else (None, 0)
