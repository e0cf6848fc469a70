"""Which packed weights the engine loads, by the `quant_method` of a model's config.json, and on what.

By vLLM 0.32: `QUANTIZATION_METHODS` less the deprecated ones, which it refuses at its start
(vllm/model_executor/layers/quantization/__init__.py), and `auto-round`, which it reads as `inc`. What the tables of
kernels in vllm/model_executor/kernels/linear/__init__.py have no entry of a CPU for, GPUs alone load. bitsandbytes and
GGUF are no longer among the methods.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

Device = Literal["cpu", "gpu"]

_ANY: tuple[Device, ...] = ("cpu", "gpu")
_GPU: tuple[Device, ...] = ("gpu",)

LOADED_ON = MappingProxyType(
    {
        "auto-round": _ANY,
        "auto_awq": _ANY,
        "auto_gptq": _ANY,
        "awq": _ANY,
        "awq_marlin": _ANY,
        "compressed-tensors": _ANY,
        "deepseek_v4_fp8": _ANY,
        "experts_int8": _ANY,
        "fp8": _ANY,
        "fp8_per_block": _ANY,
        "fp8_per_channel": _ANY,
        "fp8_per_tensor": _ANY,
        "gpt_oss_mxfp4": _ANY,
        "gptq": _ANY,
        "gptq_marlin": _ANY,
        "humming": _ANY,
        "inc": _ANY,
        "int8_per_channel_weight_only": _ANY,
        "modelopt": _ANY,
        "modelopt_fp4": _GPU,
        "modelopt_mixed": _ANY,
        "modelopt_mxfp8": _GPU,
        "moe_wna16": _ANY,
        "mxfp4": _ANY,
        "mxfp8": _GPU,
        "nvfp4_per_token": _GPU,
        "online": _ANY,
        "quark": _ANY,
        "torchao": _ANY,
    }
)
"""By method. One that may do is among those that do: only what is sure to fail ends without a try."""

UNNAMED = "unnamed"
"""Of weights that are packed without a word of how: the engine looks at more than the name."""


def is_loaded_on(method: str | None, device: Device) -> bool:
    """Whether the engine may load weights that are packed so; None are plain numbers."""
    if method is None or method == UNNAMED:
        return True
    return device in LOADED_ON.get(normal_name(method), ())


def normal_name(method: str) -> str:
    """A method's name as vLLM reads it.

    `_normalize_quantization_config` in transformers_utils/model_arch_config_convertor.py.
    """
    return method.lower().replace("compressed_tensors", "compressed-tensors")
