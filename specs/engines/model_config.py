"""What a model's config.json says that decides how much memory an engine needs for it.

Names of keys are those of transformers' configurations; which of them counts, and what is meant where one is absent, is
as vLLM 0.32 reads them (`ModelArchConfigConvertorBase` in vllm/transformers_utils/model_arch_config_convertor.py,
`_get_and_verify_max_len` and `_get_and_verify_dtype` in vllm/config/model.py), with the defaults of the classes in
transformers (specs/engines/model_defaults.py). The file is somebody's upload: every number in it is bounded, and one
that is none is a reason, not a crash.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from specs.engines.model_defaults import defaults_of
from specs.engines.model_experts import Experts, read_experts
from specs.engines.model_quantization import QUANTIZATION_FILE, Quantization, read_quantization
from specs.engines.model_states import States, read_layers
from specs.errors import SubmissionError
from specs.model import Contract
from specs.text import clean

READING = 1
"""To be raised by each change that reads the same files otherwise. Farms then read those of all models again, so that
the engine of a model does not depend on which version saw it first."""

MAX_CONFIG_BYTES = 2**20
MAX_LAYERS = 2000
MAX_HEADS = 4096
MAX_WIDTH = 2**20
"""Of a hidden state, a head or a latent vector."""

MAX_CONTEXT_TOKENS = 2**30
MAX_LISTED = 10_000

DEFAULT_CONTEXT_TOKENS = 2048
"""What vLLM takes where neither a config nor its class names a length, and nobody asks for another."""

_CONTEXT_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_KV_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
# Heads of their vision's class in transformers. vLLM divides them among the GPUs of tensor parallelism, and refuses
# what does not come out even (`Glm4vVisionAttention` in vllm/model_executor/models/glm4_1v.py, and glm_ocr.py).
_VISION_HEADS: Mapping[str, int] = {"glm4v": 12, "glm4v_moe": 12, "glm_ocr": 16}
_NESTED = ("text_config", "llm_config", "language_config")
# Kinds of rope scaling whose max_position_embeddings is scaled already.
_SCALED_ALREADY = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default", "mrope")
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
# Gemma2Config, Gemma3TextConfig, Cohere2Config and GptOssConfig.
_PATTERNS: Mapping[str, int] = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4, "gpt_oss": 2}
# Whose layers that look at everything have heads of their own: transformers' Gemma4TextConfig.
_WIDER_WHOLE = frozenset({"gemma4_text", "gemma4_unified_text"})
# A window on every layer, without a list.
_ALL_SLIDING = frozenset({"mistral", "mixtral", "phi3", "starcoder2"})


class ModelConfigError(SubmissionError):
    """A config.json does not say what it should; names the key."""


class CacheLayers(Contract):
    """Layers that keep their keys and values alike."""

    layers: Annotated[int, Field(gt=0)]
    heads: Annotated[int, Field(gt=0)]
    """That keys and values are kept for. A GPU of several holds its share of them, but one at least."""

    numbers: Annotated[int, Field(gt=0)]
    """For each token and head: keys and values."""

    window: Annotated[int, Field(gt=0)] | None
    """Tokens back that a layer looks; None is all."""


class ModelConfig(Contract):
    """A config.json, as far as memory depends on it.

    Farms keep it in their databases: what it has now has to stay, and what it gets has to have a default.
    """

    model_type: str | None
    """That the rest was read by; for whoever looks at what is stored."""

    dtype: str | None
    """That it was published in; None where it does not say."""

    quantization: str | None
    """The method, as in `quantization_config.quant_method`; None where the weights are plain numbers."""

    attention_heads: Annotated[int, Field(gt=0)]
    kv_heads: Annotated[int, Field(gt=0)]
    """Both of the states, where no layer has attention."""

    intermediate: tuple[int, ...]
    """Widths of feed-forward layers, which GPUs share evenly."""

    groups: tuple[int, ...] = ()
    """How many groups of quantised numbers there are in a row that GPUs share, which they share evenly too; 1 where the
    last is not whole."""

    vision_heads: Annotated[int, Field(gt=0)] | None = None
    """Of the part that looks at images, where GPUs have to share them evenly; None where they need not."""

    context_tokens: Annotated[int, Field(gt=0)]
    """Of prompt and answer together, where nobody says more or less."""

    longest_tokens: Annotated[int, Field(gt=0)] | None = None
    """Of prompt and answer together at most, whoever asks for more; None is `context_tokens`."""

    names_length: bool = True
    """Whether the model has a length of its own. Where it names none, vLLM takes what it is asked for, and
    `context_tokens` where it is not asked; `longest_tokens` says nothing then."""

    cache: tuple[CacheLayers, ...]
    states: States | None = None
    """None where every layer keeps keys and values, and nothing else."""

    experts: Experts | None
    """None of a model in which every weight works for every token, or that says too little."""


def read_config(text: bytes, quantization_text: bytes | None = None) -> ModelConfig:
    """What a config.json says, and an hf_quant_config.json beside one that names no quantisation.

    Raises:
        ModelConfigError: one is no JSON object, or lacks what decides the size, or has an absurd number there.
    """
    whole = _read_object("config.json", text)
    config = _of_the_text(whole)
    if quantization_text is not None:
        config["quantization_config"] = _read_object(QUANTIZATION_FILE, quantization_text)
    layers = _layers(config)
    kept = read_layers(config, layers)
    hidden = _number(config, _HIDDEN, MAX_WIDTH)
    if kept.attention or kept.states is None:
        heads = _number(config, _HEADS, MAX_HEADS)
        kv_heads = _kv_heads(config, heads)
        cache = _cache(config, kept.attention, heads, kv_heads, hidden)
    else:
        heads, kv_heads, cache = kept.states.value_heads, kept.states.key_heads, ()
    quantization, longest = read_quantization(config), _longest(config)
    context = _context(config, longest)
    return ModelConfig(
        model_type=_name(config, "model_type"),
        dtype=_name(config, "dtype") or _name(config, "torch_dtype"),
        quantization=quantization.method if quantization is not None else None,
        attention_heads=heads,
        kv_heads=cache[0].heads if _is_latent(config) else kv_heads,
        intermediate=_widths(config),
        groups=_groups(config, quantization, heads, kv_heads, hidden),
        vision_heads=_vision_heads(whole),
        context_tokens=context,
        longest_tokens=longest if longest != context else None,
        names_length=bool(_named_lengths(config)),
        cache=cache,
        states=kept.states,
        experts=read_experts(config, layers, hidden),
    )


def _read_object(name: str, text: bytes) -> dict[str, Any]:
    if len(text) > MAX_CONFIG_BYTES:
        raise ModelConfigError(f"{name} is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelConfigError(f"{name} is no JSON: {clean(str(error), 200)}") from error
    if not isinstance(found, dict):
        raise ModelConfigError(f"{name} is no JSON object")
    return found


def _of_the_text(whole: dict[str, Any]) -> dict[str, Any]:
    """The part about the language model, where others stand beside it; it may leave to the whole what it lacks.

    What both leave out is as in its class. What is null is not left out: the class works it out.
    """
    inner: dict[str, Any] = next((whole[key] for key in _NESTED if isinstance(whole.get(key), dict)), {})
    found = {**whole, **{key: value for key, value in inner.items() if value is not None}}
    defaults = defaults_of(found.get("model_type"))
    return {**{key: value for key, value in defaults.items() if key not in inner}, **found}


def _vision_heads(whole: Mapping[str, Any]) -> int | None:
    default = _VISION_HEADS.get(_name(whole, "model_type") or "")
    if default is None:
        return None
    vision = whole.get("vision_config")
    keys = ("num_heads", "num_attention_heads")
    return _number(vision if isinstance(vision, dict) else {}, keys, MAX_HEADS, default)


def _layers(config: Mapping[str, Any]) -> int:
    """All that there are."""
    listed = config.get("layers_block_type")
    # Newer configs of Nemotron-H name each layer, and not how many there are.
    default = len(listed) if isinstance(listed, list) and 0 < len(listed) <= MAX_LAYERS else None
    layers = _number(config, _LAYERS, MAX_LAYERS, default)
    # Of this kind a layer has two: `LongCatFlashModelArchConfigConvertor`.
    is_double = _name(config, "model_type") == "longcat_flash" and config.get("num_hidden_layers") is None
    return 2 * layers if is_double else layers


def _cache(config: Mapping[str, Any], layers: int, heads: int, kv_heads: int, hidden: int) -> tuple[CacheLayers, ...]:
    if _is_latent(config):
        # One latent vector and one rotary key for all heads: every GPU holds them whole.
        latent = _number(config, ("kv_lora_rank",), MAX_WIDTH) + _number(config, ("qk_rope_head_dim",), MAX_WIDTH)
        numbers = latent + (_indexer(config) if config.get("index_topk") is not None else 0)
        return (CacheLayers(layers=layers, heads=1, numbers=numbers, window=None),)
    ratios = _compress_ratios(config, layers)
    if ratios:
        return tuple(_compressed(config, ratios))
    numbers = 2 * _head_width(config, hidden, heads)
    if _name(config, "model_type") == "nemotron-nas":
        kept = Counter(_heads_of_blocks(config, heads))
        return tuple(CacheLayers(layers=kept[each], heads=each, numbers=numbers, window=None) for each in sorted(kept))
    whole_heads, whole_numbers = kv_heads, numbers
    if _name(config, "model_type") in _WIDER_WHOLE:
        # The last layers look into what earlier ones keep: `num_kv_shared_layers`.
        layers = max(layers - _number(config, ("num_kv_shared_layers",), MAX_LAYERS, 0, least=0), 1)
        whole_numbers = 2 * _number(config, ("global_head_dim",), MAX_WIDTH, 512)
        if config.get("attention_k_eq_v") is True:
            whole_heads = _number(config, ("num_global_key_value_heads",), MAX_HEADS, kv_heads)
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
    width = _number(config, ("index_head_dim",), MAX_WIDTH)
    return -(-(width + 4 * (width // 128)) // 2)


def _compress_ratios(config: Mapping[str, Any], layers: int) -> Sequence[int]:
    """Of each layer of DeepSeek-V4; none of other models, or where they are no sensible numbers.

    DeepSeek-V4.1 means other layers by the same numbers, and is taken to keep every token.
    """
    ratios = config.get("compress_ratios")
    if _name(config, "model_type") != "deepseek_v4" or not isinstance(ratios, list):
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
    width = _number(config, ("head_dim",), MAX_WIDTH)
    window = _number(config, ("sliding_window",), MAX_CONTEXT_TOKENS)
    yield CacheLayers(layers=len(ratios), heads=1, numbers=width, window=window)
    for ratio, layers in sorted(Counter(ratios).items()):
        if ratio <= 1:
            # A window and nothing else.
            continue
        numbers, made, overlap = -(-width // ratio), width, 1
        if ratio == 4:
            # These alone have what chooses among their vectors, and each is made of two groups.
            numbers += -(-_indexer(config) // ratio)
            made, overlap = width + _number(config, ("index_head_dim",), MAX_WIDTH), 2
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
            yield max(heads // _number(attention, ("n_heads_in_group",), MAX_HEADS), 1)


def _is_latent(config: Mapping[str, Any]) -> bool:
    return _name(config, "model_type") in _LATENT and config.get("kv_lora_rank") is not None


def _head_width(config: Mapping[str, Any], hidden: int, heads: int) -> int:
    # Some write 0 for what they leave to be worked out.
    rope, nope = (_number(config, (key,), MAX_WIDTH, 0, least=0) for key in ("qk_rope_head_dim", "qk_nope_head_dim"))
    own = _number(config, ("head_dim", "hidden_size_per_head", "attention_head_dim"), MAX_WIDTH, 0, least=0)
    return own or (rope + nope if rope and nope else max(hidden // heads, 1))


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    if config.get("multi_query") is True and config.get("new_decoder_architecture") is not True:
        return 1
    if _name(config, "model_type") == "nemotron-nas":
        return min(_heads_of_blocks(config, heads), default=heads)
    return _number(config, _KV_HEADS, MAX_HEADS, heads)


def _sliding(config: Mapping[str, Any], layers: int) -> tuple[int | None, int]:
    """Tokens of the window, and how many layers have it. Layers of a kind that is not known look at everything."""
    window = _number(config, ("sliding_window", "attention_chunk_size"), MAX_CONTEXT_TOKENS, 0, least=0)
    if not window or config.get("use_sliding_window") is False:
        return None, 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and len(kinds) <= MAX_LISTED:
        named = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds[:layers])
        return window, named
    pattern = _number(
        config, ("sliding_window_pattern",), MAX_LAYERS, _PATTERNS.get(_name(config, "model_type") or "", 0)
    )
    if pattern:
        return window, layers - layers // pattern
    if config.get("use_sliding_window") is True:
        return window, max(layers - _number(config, ("max_window_layers",), MAX_LAYERS, layers, least=0), 0)
    return (window, layers) if _name(config, "model_type") in _ALL_SLIDING else (None, 0)


def _longest(config: Mapping[str, Any]) -> int:
    """Tokens that vLLM serves at most."""
    tokens = min(_named_lengths(config), default=DEFAULT_CONTEXT_TOKENS)
    # Command-R's own goes before all others.
    tokens = _number(config, ("model_max_length",), MAX_CONTEXT_TOKENS, tokens)
    rope = _rope(config)
    factor = rope.get("factor")
    if "gemma3" in (_name(config, "model_type") or "") or _rope_kind(rope) in _SCALED_ALREADY or factor is None:
        return tokens
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= MAX_CONTEXT_TOKENS / tokens:
        raise ModelConfigError("config.json: the factor of its rope scaling is no sensible number")
    return max(int(tokens * factor), 1)


def _named_lengths(config: Mapping[str, Any]) -> list[int]:
    return [_number(config, (key,), MAX_CONTEXT_TOKENS) for key in _CONTEXT_KEYS if config.get(key) is not None]


def _context(config: Mapping[str, Any], longest: int) -> int:
    if _rope_kind(_rope(config)) != "longrope":
        return longest
    # What is longer is answered otherwise, and so has to be asked for.
    return _number(config, ("original_max_position_embeddings",), MAX_CONTEXT_TOKENS, longest)


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("rope_parameters") or config.get("rope_scaling")
    return found if isinstance(found, dict) else {}


def _rope_kind(rope: Mapping[str, Any]) -> object:
    return rope.get("rope_type") or rope.get("type")


def _groups(
    config: Mapping[str, Any], quantization: Quantization | None, heads: int, kv_heads: int, hidden: int
) -> tuple[int, ...]:
    """Of the layers of which GPUs share the rows: what leaves attention, and what leaves feed-forward layers."""
    if quantization is None or quantization.group is None:
        return ()
    group, width = quantization.group, _head_width(config, hidden, heads)
    values = _number(config, ("v_head_dim",), MAX_WIDTH, width) if _is_latent(config) else width
    shared = [heads * values, *_widths(config)]
    if quantization.blocks and not _is_latent(config) and width % group:
        # Blocks are of several rows, and no block of two heads' keys is in two places.
        shared.append(kv_heads * width)
    return tuple(sorted({each // group if each % group == 0 else 1 for each in shared}))


def _widths(config: Mapping[str, Any]) -> tuple[int, ...]:
    found = set()
    for key in ("intermediate_size", "moe_intermediate_size"):
        said = config.get(key)
        # Gemma 3n and Hunyuan-A13B have one for each layer.
        by_layer = said if isinstance(said, list) and len(said) <= MAX_LISTED else [said]
        found |= {_number({key: each}, (key,), MAX_WIDTH, 0, least=0) for each in by_layer}
    return tuple(sorted(found - {0}))


def _name(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    return clean(value, 60) if isinstance(value, str) and value else None


def _number(
    config: Mapping[str, Any], keys: tuple[str, ...], most: int, default: int | None = None, *, least: int = 1
) -> int:
    """The first of `keys` that is there, and not null.

    Raises:
        ModelConfigError: it is no whole number from `least` to `most`; or none is there and there is no default.
    """
    key = next((each for each in keys if config.get(each) is not None), None)
    if key is None:
        if default is None:
            raise ModelConfigError(f"config.json has no {keys[0]}")
        return default
    value = config[key]
    if type(value) is not int or not least <= value <= most:
        # Anything else may be long, or deeper than can be shown.
        shown = clean(str(value), 60) if isinstance(value, str | int | float) else type(value).__name__
        raise ModelConfigError(f"config.json: {key} is {shown}, not a whole number from {least} to {most}")
    return value
