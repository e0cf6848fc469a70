"""The weights of a model: which files an engine loads, and how much memory they take once it has.

Files say how many bytes there are, and the Hub says how many numbers of which dtype (`safetensors.parameters` of a
model's info, read from the heads of its files). The first is what is believed. The second says what a cast changes: an
engine that serves float32 weights in bfloat16 holds half of their bytes. Packed numbers of a quantised model are loaded
as they are, and counts of them are not to be multiplied by anything: some tools count what is packed, others what it
stands for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

EngineDtype = Literal["auto", "bfloat16", "float16", "float32"]
"""What an engine is told to serve in; `auto` is what vLLM makes of the model's own."""

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one element by its name in a file's head: `Dtype::bitsize` of the safetensors library."""

CAST: frozenset[str] = frozenset({"F16", "BF16", "F32", "F64"})
"""What an engine serves in the dtype that it is told. Everything else is packed, or no weight."""

MAX_PARAMETERS = 10**15
MAX_WEIGHTS_BYTES = 2**53 - 1
AGREE_WITHIN = 0.02
"""Heads, paddings and a buffer or two are the difference between a repo's files and what is counted in them."""

_WEIGHTS_FILE = re.compile(r"(?!consolidated)[^/]*\.safetensors")
_MISTRAL_FILE = re.compile(r"(?:.*/)?consolidated[^/]*\.safetensors")
_ADAPTER_FILE = re.compile(r"adapter_(?:config\.json|model\.(?:safetensors|bin))")


def is_weights_file(path: str) -> bool:
    """Whether a file of a model repo is fetched as weights.

    It is at the top level, and no second copy in Mistral's own format, which vLLM would leave out too.
    """
    return _WEIGHTS_FILE.fullmatch(path) is not None


def is_mistral_file(path: str) -> bool:
    """Whether by a file of a model repo vLLM takes the repo for one in Mistral's own format.

    As `is_mistral_model_repo` in vllm/transformers_utils/repo_utils.py.
    """
    return _MISTRAL_FILE.fullmatch(path) is not None


def is_adapter_file(path: str) -> bool:
    """Whether a file of a model repo says that the repo is an adapter (LoRA and its kin, as PEFT writes them).

    With whole weights beside it nobody can tell which of the two a score is of: transformers loads the adapter on the
    model that it names, and vLLM the weights alone.
    """
    return _ADAPTER_FILE.fullmatch(path) is not None


def read_counts(counted: object) -> dict[str, int]:
    """Numbers by dtype as the Hub gives them; empty where it gives none, or something else."""
    if not isinstance(counted, Mapping) or not 0 < len(counted) <= len(DTYPE_BITS):
        return {}
    for dtype, count in counted.items():
        if dtype not in DTYPE_BITS or type(count) is not int or not 0 <= count <= MAX_PARAMETERS:
            return {}
    return dict(counted)


def bytes_in_memory(file_bytes: int, counts: Mapping[str, int], served_bits: int) -> int:
    """What an engine holds of weights in so many bytes of files, of dtypes in `counts`, if it casts to `served_bits`.

    The files' bytes where it casts nothing, where nobody counted, and where what was counted is not what the files
    hold.
    """
    if not counts.keys() or not counts.keys() <= CAST:
        return file_bytes
    counted = sum(count * DTYPE_BITS[dtype] for dtype, count in counts.items()) // 8
    if abs(counted - file_bytes) > AGREE_WITHIN * file_bytes:
        return file_bytes
    return sum(counts.values()) * served_bits // 8
