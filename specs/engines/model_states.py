"""Layers that keep a state of one size for a sequence, however long it is, instead of keys and values of all of it.

There are many kinds of them, and each has a state of its own. Here are the gated delta net of Qwen3-Next and Qwen3.5,
and the Mamba-2 of Falcon-H1, as vLLM 0.32 lays them out (`gated_delta_net_state_shape` and `mamba2_state_shape` in
vllm/model_executor/layers/mamba/mamba_utils.py). Layers of other kinds are taken to keep keys and values, which is far
more in a long sequence; Falcon-H1's keep those and a state beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from specs.model import Contract

MAX_SIDE = 2**20

# Of which vLLM builds such layers by just these keys: in others they may mean nothing.
_TYPES = frozenset({"qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"})
_BESIDE_ATTENTION = "falcon_h1"
_FULL_EVERY = 4
"""Layers of which one looks at everything, where a config does not say: transformers' Qwen3NextConfig and its kin."""

NUMBER_BYTES = 4
"""Of a number in a state: float32, which such models ask for of the larger part of it."""

KEPT = 2
"""States of a layer and a sequence: with prefix caching, which vLLM switches on, the one before the last is kept too
(`MambaSpec.max_memory_usage_bytes` in vllm/v1/kv_cache_interface.py)."""


class States(Contract):
    """The layers of a model that keep a state."""

    layers: Annotated[int, Field(gt=0)]
    key_heads: Annotated[int, Field(gt=0)]
    value_heads: Annotated[int, Field(gt=0)]
    """Both of which GPUs share evenly."""

    numbers: Annotated[int, Field(gt=0)]
    """In the state of one layer."""

    beside_attention: bool = False
    """Whether these layers keep keys and values too."""

    @property
    def instead_of_attention(self) -> int:
        """Layers that keep no keys and values."""
        return 0 if self.beside_attention else self.layers

    @property
    def sequence_bytes(self) -> int:
        """Of one sequence, over all layers and GPUs together."""
        return self.layers * self.numbers * KEPT * NUMBER_BYTES


def read_states(config: Mapping[str, Any], layers: int) -> States | None:
    """The layers with a state in a config; None where there are none, or it says nothing sensible of them."""
    name = config.get("model_type")
    if name == _BESIDE_ATTENTION:
        return _mamba(config, layers)
    if not isinstance(name, str) or name not in _TYPES:
        return None
    keys, values = _side(config, "linear_num_key_heads"), _side(config, "linear_num_value_heads")
    key_width, value_width = _side(config, "linear_key_head_dim"), _side(config, "linear_value_head_dim")
    kernel, found = _side(config, "linear_conv_kernel_dim"), _layers(config, layers)
    if not (keys and values and key_width and value_width and kernel and found):
        return None
    convolution = (2 * keys * key_width + values * value_width) * (kernel - 1)
    recurrent = values * value_width * key_width
    return States(layers=found, key_heads=keys, value_heads=values, numbers=convolution + recurrent)


def _mamba(config: Mapping[str, Any], layers: int) -> States | None:
    heads, width = _side(config, "mamba_n_heads"), _side(config, "mamba_d_head")
    groups, state, kernel = (_side(config, f"mamba_{name}") for name in ("n_groups", "d_state", "d_conv"))
    inner = _side(config, "mamba_d_ssm") or heads * width
    if not (heads and width and groups and state and kernel):
        return None
    convolution = (inner + 2 * groups * state) * (kernel - 1)
    # Groups that GPUs do not share evenly are repeated; heads have to be.
    return States(
        layers=layers,
        key_heads=heads,
        value_heads=heads,
        numbers=convolution + heads * width * state,
        beside_attention=True,
    )


def _layers(config: Mapping[str, Any], layers: int) -> int:
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind == "linear_attention" for kind in kinds[:layers])
    return layers - layers // (_side(config, "full_attention_interval") or _FULL_EVERY)


def _side(config: Mapping[str, Any], key: str) -> int:
    """0 where it is no sensible number."""
    value = config.get(key)
    return value if type(value) is int and 0 < value <= MAX_SIDE else 0
