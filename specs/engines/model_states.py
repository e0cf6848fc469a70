"""Layers that keep a state of one size for a sequence, however long it is, instead of keys and values of all of it.

There are many kinds of them, and each has a state of its own: the gated delta net of Qwen3-Next and Qwen3.5, Mamba (of
Jamba too), Mamba-2 (of Falcon-H1, Granite 4, Nemotron-H and Zamba2 too) and the short convolutions of LFM2, as vLLM
0.32 lays them out (`MambaStateShapeCalculator` in vllm/model_executor/layers/mamba/mamba_utils.py, and whoever calls it
in vllm/model_executor/models). Layers of other kinds are taken to keep keys and values, which is far more in a long
sequence. Falcon-H1's keep those and a state beside them, and so do some of Zamba2's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from specs.contract import Contract
from specs.engines.config_values import side

# By the keys of each in its config: heads, their width, groups, state and convolution. In others they may mean nothing.
_GRANITE = ("mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv")
_MAMBA2 = {
    "mamba2": ("num_heads", "head_dim", "n_groups", "state_size", "conv_kernel"),
    "nemotron_h": ("mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel"),
    "zamba2": ("n_mamba_heads", "mamba_headdim", "mamba_ngroups", "mamba_d_state", "mamba_d_conv"),
    "granitemoehybrid": _GRANITE,
    "falcon_h1": _GRANITE,
}
_MAMBA = {
    "mamba": ("intermediate_size", "expand", "state_size", "conv_kernel"),
    "falcon_mamba": ("intermediate_size", "expand", "state_size", "conv_kernel"),
    # Its intermediate_size is another's: of its feed-forward layers.
    "jamba": ("", "mamba_expand", "mamba_d_state", "mamba_d_conv"),
}
_DELTA_NETS = frozenset({"qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"})
_SHORT_CONVOLUTIONS = frozenset({"lfm2", "lfm2_moe"})
_WITHOUT_ATTENTION = frozenset({"mamba", "falcon_mamba", "mamba2"})
_FULL_EVERY = 4
"""Layers of which one looks at everything, where a config does not say: transformers' Qwen3NextConfig and its kin."""

# Names in a list of layers, the older ones too, and signs in a pattern; a hybrid layer has both.
_ATTENTION = frozenset({"full_attention", "attention", "hybrid", "*"})
_STATE = frozenset({"linear_attention", "mamba", "conv", "hybrid", "M"})

NUMBER_BYTES = 4
"""Of a number in a state: float32, which some models ask for of the larger part of it."""

KEPT = 2
"""States of a layer and a sequence: with prefix caching, which vLLM switches on, the one before the last is kept too
(`MambaSpec.max_memory_usage_bytes` in vllm/v1/kv_cache_interface.py)."""


class States(Contract):
    """The layers of a model that keep a state."""

    layers: Annotated[int, Field(gt=0)]
    key_heads: Annotated[int, Field(gt=0)]
    value_heads: Annotated[int, Field(gt=0)]
    """Both of which GPUs share evenly; where a state has no heads, its channels."""

    numbers: Annotated[int, Field(gt=0)]
    """In the state of one layer."""

    beside_attention: bool = False
    """Whether some of these layers keep keys and values too."""

    number_bytes: Annotated[int, Field(gt=0)] | None = NUMBER_BYTES
    """None is as many as the model's other numbers have once it is served."""

    kept: Annotated[int, Field(gt=0)] = KEPT
    """For each sequence."""

    def sequence_bytes(self, served_bytes: int) -> int:
        """Of one sequence, over all layers and GPUs together; `served_bytes` has a number of the served model."""
        each = served_bytes if self.number_bytes is None else self.number_bytes
        return self.layers * self.numbers * self.kept * each


class Layers(NamedTuple):
    """What a model's layers keep of a sequence."""

    attention: int
    """Layers that keep keys and values."""

    states: States | None
    """Those that keep a state; None where there are none, or the config says nothing sensible of them."""


def read_layers(config: Mapping[str, Any], layers: int) -> Layers:
    """What is kept by so many layers of a config; all keep keys and values where it tells of nothing else."""
    name = config.get("model_type")
    if not isinstance(name, str):
        return Layers(layers, None)
    attention, with_state = _kinds(config, name, layers)
    shape = _shape(config, name)
    if not with_state or shape is None:
        return Layers(layers, None)
    heads, others, numbers = shape
    states = States(
        layers=with_state,
        key_heads=others,
        value_heads=heads,
        numbers=numbers,
        beside_attention=attention + with_state > layers,
        number_bytes=_number_bytes(config, name),
        # What has no attention at all is served without prefix caching: `is_prefix_caching_supported` in
        # vllm/config/model.py.
        kept=KEPT if attention else 1,
    )
    return Layers(attention, states)


def _kinds(config: Mapping[str, Any], name: str, layers: int) -> tuple[int, int]:
    """How many layers keep keys and values, and how many a state. Some do neither."""
    if name in _WITHOUT_ATTENTION:
        return 0, layers
    if name == "falcon_h1":
        return layers, layers
    # Nemotron-H's pattern is read where there is no list; others have one of the names.
    names = ("layers_block_type", "layer_types", "hybrid_override_pattern")
    listed = next((config[key] for key in names if isinstance(config.get(key), list | str)), None)
    if listed is not None:
        kinds = [kind for kind in listed[:layers] if isinstance(kind, str)]
        return sum(kind in _ATTENTION for kind in kinds), sum(kind in _STATE for kind in kinds)
    full = _full_by_place(config, name, layers)
    return full, layers - full


def _full_by_place(config: Mapping[str, Any], name: str, layers: int) -> int:
    """How many layers keep keys and values, where a config says by their places which do; all where it does not."""
    if name in _DELTA_NETS:
        return layers // (side(config, "full_attention_interval") or _FULL_EVERY)
    if name == "jamba":
        period, offset = side(config, "attn_layer_period") or 8, config.get("attn_layer_offset", 4)
        return sum(index % period == offset for index in range(layers))
    indices = config.get("full_attn_idxs")
    if name in _SHORT_CONVOLUTIONS and isinstance(indices, list):
        return len({index for index in indices if type(index) is int and 0 <= index < layers})
    return layers


def _shape(config: Mapping[str, Any], name: str) -> tuple[int, int, int] | None:
    """Heads, heads of keys and numbers of a layer's state; None where the config does not say."""
    if name in _DELTA_NETS:
        return _delta_net(config)
    if name in _SHORT_CONVOLUTIONS:
        return _short_convolution(config)
    if name in _MAMBA:
        return _mamba(config, name)
    return _mamba2(config, name) if name in _MAMBA2 else None


def _delta_net(config: Mapping[str, Any]) -> tuple[int, int, int] | None:
    keys, values = side(config, "linear_num_key_heads"), side(config, "linear_num_value_heads")
    key_width, value_width = side(config, "linear_key_head_dim"), side(config, "linear_value_head_dim")
    kernel = side(config, "linear_conv_kernel_dim")
    if not (keys and values and key_width and value_width and kernel):
        return None
    convolution = (2 * keys * key_width + values * value_width) * (kernel - 1)
    return values, keys, convolution + values * value_width * key_width


def _short_convolution(config: Mapping[str, Any]) -> tuple[int, int, int] | None:
    channels, kernel = side(config, "conv_dim") or side(config, "hidden_size"), side(config, "conv_L_cache")
    return (channels, channels, channels * (kernel - 1)) if channels and kernel > 1 else None


def _mamba(config: Mapping[str, Any], name: str) -> tuple[int, int, int] | None:
    inner_key, expand_key, *keys = _MAMBA[name]
    state, kernel = (side(config, key) for key in keys)
    inner = side(config, inner_key) or side(config, expand_key) * side(config, "hidden_size")
    return (inner, inner, inner * (kernel - 1 + state)) if inner and state and kernel else None


def _mamba2(config: Mapping[str, Any], name: str) -> tuple[int, int, int] | None:
    heads, width, groups, state, kernel = (side(config, key) for key in _MAMBA2[name])
    if heads and not width:
        # Left out, or "auto".
        width = side(config, "mamba_expand") * side(config, "hidden_size") // heads
    if not (heads and width and groups and state and kernel):
        return None
    inner = (side(config, "mamba_d_ssm") if name == "falcon_h1" else 0) or heads * width
    # Groups that GPUs do not share evenly are repeated; heads have to be.
    return heads, heads, (inner + 2 * groups * state) * (kernel - 1) + heads * width * state


def _number_bytes(config: Mapping[str, Any], name: str) -> int | None:
    if name == "nemotron_h":
        # `NemotronHForCausalLMConfig` in vllm/model_executor/models/config.py.
        return NUMBER_BYTES if config.get("mamba_ssm_cache_dtype", "float32") == "float32" else None
    return NUMBER_BYTES if name in _DELTA_NETS else None
