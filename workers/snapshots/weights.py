"""A cheap look at a model's weights before an engine is started for them: headers, not tensors.

Format of a safetensors file (https://huggingface.co/docs/safetensors): eight bytes with the length of a JSON header,
the header with each tensor's dtype, shape and place, the tensors. A cut-off or overwritten file shows in its header or
in its length, and an engine takes minutes to say the same.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from specs.engines.model_size import ModelSize
from specs.engines.model_weights import DTYPE_BITS, EngineDtype, bytes_in_memory
from specs.text import clean
from workers.errors import ModelError

NO_SAFETENSORS = (
    "the repo has no safetensors file at its top level, or none but Mistral's own (consolidated*.safetensors); weights"
    " in other formats can carry code and are not run"
)

_MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library itself."""

_MAX_DIMENSIONS = 64
"""Of a tensor, as torch has it. The product of a million large ones takes hours to multiply out."""


def check_weights(folder: Path) -> None:
    """Look at every safetensors file of a model.

    Raises:
        ModelError: there is none, or one of them cannot be what it says.
        OSError: this machine cannot read them, which the model cannot help.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(NO_SAFETENSORS)
    for file in files:
        try:
            _check_file(file)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error) as error:
            reason = clean(str(error), 300) or type(error).__name__
            raise ModelError(f"{file.name} is not a sound safetensors file: {reason}") from error
    _check_index(folder, {file.name for file in files})


def size_of_weights(folder: Path) -> int:
    """The size of a model's safetensors files, in bytes."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def weights_in_memory(folder: Path, dtype: EngineDtype) -> int:
    """What an engine that serves in `dtype` holds of a model's weights, in bytes. They were checked before."""
    counts: Counter[str] = Counter()
    for file in folder.glob("*.safetensors"):
        for tensor in _read_header(file)[0].values():
            counts[tensor["dtype"]] += math.prod(tensor["shape"])
    return bytes_in_memory(size_of_weights(folder), counts, ModelSize.served_bits(dtype))


def stored_parameters(folder: Path) -> int:
    """How many numbers the safetensors files of a model hold. They were checked before."""
    return sum(
        math.prod(tensor["shape"]) for file in folder.glob("*.safetensors") for tensor in _read_header(file)[0].values()
    )


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The description of each tensor by its name, and the header's length in bytes."""
    size = file.stat().st_size
    with file.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        if length > min(size, _MAX_HEADER_BYTES):
            raise ValueError(f"its header should have {length} bytes, the whole file has {size}")
        header = json.loads(content.read(length))
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}, length


def _check_file(file: Path) -> None:
    size = file.stat().st_size
    tensors, length = _read_header(file)
    end = 0
    for name, tensor in tensors.items():
        start, stop = tensor["data_offsets"]
        bits = DTYPE_BITS.get(tensor["dtype"])
        if len(tensor["shape"]) > _MAX_DIMENSIONS:
            raise ValueError(f"tensor {clean(name, 100)} has {len(tensor['shape'])} dimensions")
        if not all(isinstance(each, int) and 0 <= each < 2**63 for each in (start, stop, *tensor["shape"])):
            raise ValueError(f"tensor {clean(name, 100)} has a shape or a place that is none")
        if bits is not None and (stop - start) * 8 != math.prod(tensor["shape"]) * bits:
            raise ValueError(f"tensor {clean(name, 100)} does not have the size of its shape")
        end = max(end, stop)
    if size != 8 + length + end:
        raise ValueError(f"the header tells of {8 + length + end} bytes, the file has {size}")


def _check_index(folder: Path, present: set[str]) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        wanted = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(f"{index.name} cannot be read: {clean(str(error), 300)}") from error
    if missing := sorted(map(str, wanted - present)):
        raise ModelError(f"{index.name} names files that the repo does not have: {clean(', '.join(missing), 300)}")
