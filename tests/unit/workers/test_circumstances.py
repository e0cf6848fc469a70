"""What is said of the hardware that computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fake_nvml import pynvml
from workers.engines.devices import GIB, Gpus
from workers.runs.circumstances import hardware

ANY = {"total": 80 * GIB, "free": 79 * GIB, "processes": {}}


def of(gpus: int, visible: str | None = None) -> str:
    return hardware(gpus, lambda count: Gpus(count, visible, pynvml))


@pytest.fixture(autouse=True)
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with GPUs of two kinds."""
    names = ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB")
    found = [{"name": name, "uuid": f"GPU-{number}", **ANY} for number, name in enumerate(names)]
    file = tmp_path / "nvml.json"
    file.write_text(json.dumps(found))
    monkeypatch.setenv("CUDA_FAKE_NVML", str(file))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return file


def test_gpus_of_one_kind_are_counted_and_others_listed() -> None:
    assert of(2) == "2 × NVIDIA H100 80GB HBM3"
    assert of(2, "1,2") == "NVIDIA H100 80GB HBM3, NVIDIA A100-SXM4-80GB"


def test_the_gpu_that_is_named_is_the_one_that_cuda_shows() -> None:
    assert of(1, "2") == "1 × NVIDIA A100-SXM4-80GB"


def test_a_run_on_gpus_is_never_said_to_have_been_on_the_cpu(three_gpus: Path) -> None:
    three_gpus.unlink()
    assert of(2) == "2 × GPU that its driver does not name"


def test_a_run_without_gpus_names_the_cpu() -> None:
    assert hardware(0).startswith("CPU ")
