"""How quantised weights are packed: by what method, and how many numbers of a row have one scale.

GPUs share whole groups of those. Where a layer's rows do not part into them, an engine does not start: the lines that
refuse it are `BaseAWQLinearMethod` in auto_awq.py, `validate_fp8_block_shape` in utils/fp8_utils.py, `can_implement` in
kernels/linear/mixed_precision/marlin.py, for GPTQ, and `CompressedTensorsWNA16`, all of vLLM 0.32. Formats of which it
pads what is left over (MXFP4, NVFP4) are no matter here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from specs.contract import Contract
from specs.engines.quantization_methods import UNNAMED, normal_name
from specs.text import clean

QUANTIZATION_FILE = "hf_quant_config.json"
"""Where NVIDIA's ModelOpt, up to 0.29, says what its config.json does not (`get_config` in vLLM 0.32's
transformers_utils/config.py)."""

MAX_GROUP = 2**20
_BY_GROUPS = ("awq", "awq_marlin", "gptq", "gptq_marlin")
# `_normalize_quantization_config` in transformers_utils/model_arch_config_convertor.py.
_MODELOPT = {
    "FP8": "modelopt",
    "FP8_PER_CHANNEL_PER_TOKEN": "modelopt",
    "FP8_PB_WO": "modelopt",
    "NVFP4": "modelopt_fp4",
}


class Quantization(Contract):
    """The quantisation that a config names."""

    method: str
    """As in `quantization_config.quant_method`; of ModelOpt's own file, what vLLM makes of its `quant_algo`."""

    group: Annotated[int, Field(gt=0)] | None
    """Numbers beside each other in a row that have one scale, of methods that split no such group; None where there are
    no such groups, or a row is one, or nothing sensible is said of them."""

    blocks: bool
    """Groups are blocks: so many rows have the same scale too."""


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """The quantisation in a config; None where the weights are plain numbers."""
    found = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(found, dict):
        return None
    said = _of_modelopt(found) or found.get("quant_method")
    method = clean(said, 60) if isinstance(said, str) and said else UNNAMED
    normal = normal_name(method)
    if normal in _BY_GROUPS:
        return Quantization(method=method, group=_largest([found.get("group_size")]), blocks=False)
    if normal == "fp8":
        sides = found.get("weight_block_size")
        group = _largest(sides) if isinstance(sides, list) else None
        return Quantization(method=method, group=group, blocks=group is not None)
    if normal == "compressed-tensors":
        weights = list(_compressed(found))
        sizes = [each.get("group_size") for each in weights if each.get("strategy") == "group" and _is_integer(each)]
        blocks = [each.get("block_structure") for each in weights if each.get("strategy") == "block"]
        sides = [side for each in blocks if isinstance(each, list) for side in each]
        return Quantization(method=method, group=_largest([*sizes, *sides]), blocks=bool(sides))
    return Quantization(method=method, group=None, blocks=False)


def _of_modelopt(found: Mapping[str, Any]) -> str | None:
    """The method of what ModelOpt wrote in a form of its own; None of anything else."""
    own = found.get("quantization")
    algorithm = own.get("quant_algo") if isinstance(own, dict) else None
    return _MODELOPT.get(algorithm.upper()) if isinstance(algorithm, str) else None


def _compressed(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """How the weights of each kind of layer are compressed."""
    groups = found.get("config_groups")
    for each in groups.values() if isinstance(groups, dict) else ():
        weights = each.get("weights") if isinstance(each, dict) else None
        if isinstance(weights, dict):
            yield weights


def _is_integer(weights: Mapping[str, Any]) -> bool:
    # NVFP4 and MXFP4 are groups of floating-point numbers here.
    return weights.get("type") == "int"


def _largest(sizes: list[Any]) -> int | None:
    """Of those that are sensible; -1 is a whole row."""
    return max((size for size in sizes if type(size) is int and 0 < size <= MAX_GROUP), default=None)
