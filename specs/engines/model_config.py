"""What a model's config.json says that decides how much memory an engine needs for it.

Names of keys are those of transformers' configurations; which of them counts, and what is meant where one is absent, is
as vLLM 0.32 reads them (`ModelArchConfigConvertorBase` in vllm/transformers_utils/model_arch_config_convertor.py,
`_get_and_verify_dtype` in vllm/config/model.py), with the defaults of the classes in transformers
(specs/engines/model_defaults.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from specs.contract import Contract
from specs.engines.config_values import MAX_HEADS, MAX_LAYERS, MAX_LISTED, MAX_WIDTH, ModelConfigError, name, number
from specs.engines.model_cache import CacheLayers, cache_layers, head_width, is_latent, kv_heads_of
from specs.engines.model_context import context_tokens, longest_tokens, named_lengths
from specs.engines.model_defaults import defaults_of
from specs.engines.model_experts import Experts, read_experts
from specs.engines.model_quantization import QUANTIZATION_FILE, Quantization, read_quantization
from specs.engines.model_states import States, read_layers
from specs.text import clean

READING = 3
"""To be raised by each change that reads the same files otherwise. Farms then read those of all models again, so that
the engine of a model does not depend on which version saw it first."""

MAX_CONFIG_BYTES = 2**20

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
# Heads of their vision's class in transformers. vLLM divides them among the GPUs of tensor parallelism, and refuses
# what does not come out even (`Glm4vVisionAttention` in vllm/model_executor/models/glm4_1v.py, and glm_ocr.py).
_VISION_HEADS: Mapping[str, int] = {"glm4v": 12, "glm4v_moe": 12, "glm_ocr": 16}
_NESTED = ("text_config", "llm_config", "language_config")


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
    """Whether the model's config states a maximum length. If it states none, vLLM serves whatever length it is asked
    for, or `context_tokens` if none is asked for; `longest_tokens` then has no meaning."""

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
    hidden = number(config, _HIDDEN, MAX_WIDTH)
    if kept.attention or kept.states is None:
        heads = number(config, _HEADS, MAX_HEADS)
        kv_heads = kv_heads_of(config, heads)
        cache = cache_layers(config, kept.attention, heads, kv_heads, hidden)
    else:
        heads, kv_heads, cache = kept.states.value_heads, kept.states.key_heads, ()
    quantization, longest = read_quantization(config), longest_tokens(config)
    context = context_tokens(config, longest)
    return ModelConfig(
        model_type=name(config, "model_type"),
        dtype=name(config, "dtype") or name(config, "torch_dtype"),
        quantization=quantization.method if quantization is not None else None,
        attention_heads=heads,
        kv_heads=cache[0].heads if is_latent(config) else kv_heads,
        intermediate=_widths(config),
        groups=_groups(config, quantization, heads, kv_heads, hidden),
        vision_heads=_vision_heads(whole),
        context_tokens=context,
        longest_tokens=longest if longest != context else None,
        names_length=bool(named_lengths(config)),
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
    default = _VISION_HEADS.get(name(whole, "model_type") or "")
    if default is None:
        return None
    vision = whole.get("vision_config")
    keys = ("num_heads", "num_attention_heads")
    return number(vision if isinstance(vision, dict) else {}, keys, MAX_HEADS, default)


def _layers(config: Mapping[str, Any]) -> int:
    """All that there are."""
    listed = config.get("layers_block_type")
    # Newer configs of Nemotron-H name each layer, and not how many there are.
    default = len(listed) if isinstance(listed, list) and 0 < len(listed) <= MAX_LAYERS else None
    layers = number(config, _LAYERS, MAX_LAYERS, default)
    # Of this kind a layer has two: `LongCatFlashModelArchConfigConvertor`.
    is_double = name(config, "model_type") == "longcat_flash" and config.get("num_hidden_layers") is None
    return 2 * layers if is_double else layers


def _groups(
    config: Mapping[str, Any], quantization: Quantization | None, heads: int, kv_heads: int, hidden: int
) -> tuple[int, ...]:
    """Of the layers of which GPUs share the rows: what leaves attention, and what leaves feed-forward layers."""
    if quantization is None or quantization.group is None:
        return ()
    group, width = quantization.group, head_width(config, hidden, heads)
    values = number(config, ("v_head_dim",), MAX_WIDTH, width) if is_latent(config) else width
    shared = [heads * values, *_widths(config)]
    if quantization.blocks and not is_latent(config) and width % group:
        # Blocks are of several rows, and no block of two heads' keys is in two places.
        shared.append(kv_heads * width)
    return tuple(sorted({each // group if each % group == 0 else 1 for each in shared}))


def _widths(config: Mapping[str, Any]) -> tuple[int, ...]:
    found = set()
    for key in ("intermediate_size", "moe_intermediate_size"):
        said = config.get(key)
        # Gemma 3n and Hunyuan-A13B have one for each layer.
        by_layer = said if isinstance(said, list) and len(said) <= MAX_LISTED else [said]
        found |= {number({key: each}, (key,), MAX_WIDTH, 0, least=0) for each in by_layer}
    return tuple(sorted(found - {0}))
