"""What is free on a machine, and who holds the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from tests.support.fake_nvml import pynvml
from workers.devices import GIB, Device, Devices, Gpus, Holder, Machine, Need, _cgroup_limit, devices_for


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """NVML's library on three GPUs."""
    found: list[dict[str, Any]] = [
        {"name": f"NVIDIA H{number}", "uuid": f"GPU-{number}", "total": 80 * GIB, "free": number * GIB, "processes": {}}
        for number in range(3)
    ]
    found[1]["processes"] = {str(os.getpid()): 70 * GIB, "4194000": None}
    (tmp_path / "nvml.json").write_text(json.dumps(found))
    monkeypatch.setenv("CUDA_FAKE_NVML", str(tmp_path / "nvml.json"))
    return pynvml


def names(devices: Devices) -> list[str]:
    return [each.name for each in devices.look()]


def test_a_gpu_tells_its_memory_and_who_holds_it(nvml: ModuleType) -> None:
    device = Gpus(None, "1", nvml).look()[0]
    assert (device.name, device.total_bytes, device.free_bytes) == ("GPU 1 NVIDIA H1", 80 * GIB, GIB)
    assert device.holders == (
        Holder(os.getpid(), psutil.Process().name(), 70 * GIB),
        Holder(4194000, None, None),
    )


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [
        (None, None, ["GPU 0 NVIDIA H0", "GPU 1 NVIDIA H1", "GPU 2 NVIDIA H2"]),
        (2, None, ["GPU 0 NVIDIA H0", "GPU 1 NVIDIA H1"]),
        (1, "2,0", ["GPU 2 NVIDIA H2"]),
        (None, "GPU-1", ["GPU 1 NVIDIA H1"]),
        # As CUDA does: nothing after the first that is none.
        (None, "0,-1,2", ["GPU 0 NVIDIA H0"]),
        (None, "", []),
        # One that is not there: nothing can be said, which is no crash.
        (None, "9", []),
    ],
)
def test_the_gpus_are_those_that_cuda_would_show(
    nvml: ModuleType, monkeypatch: pytest.MonkeyPatch, count: int | None, visible: str | None, expected: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert names(Gpus(count, visible, nvml)) == expected


def test_a_driver_that_is_away_is_found_when_it_comes(nvml: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "nvml.json"
    there = file.read_text()
    file.unlink()
    gpus = Gpus(None, "0", nvml)
    assert gpus.look() == ()
    file.write_text(there)
    assert len(gpus.look()) == 1


def test_a_machine_without_gpus_is_its_memory() -> None:
    (memory,) = devices_for(0).look()
    assert memory.total_bytes >= memory.free_bytes > 0
    assert memory.holders
    assert isinstance(devices_for(0), Machine)


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 250\n")
    assert _cgroup_limit(tmp_path) == (1000, 550)
    (tmp_path / "memory.max").write_text("max\n")
    assert _cgroup_limit(tmp_path) is None


def test_what_is_missing_names_the_device_and_its_holders() -> None:
    device = Device("GPU 0 H100", 80 * GIB, 3 * GIB, (Holder(7, "VLLM::EngineCor", 76 * GIB),))
    assert Need(free_part=0.9).missing([device]) == (
        "GPU 0 H100 has 3.0 of 80.0 GiB free, needed are 72.0; in use by pid 7 (VLLM::EngineCor, 76.0 GiB)"
    )


def test_a_free_device_and_one_of_which_nothing_is_known_miss_nothing() -> None:
    assert Need(free_part=0.9).missing([Device("GPU 0", 80 * GIB, 79 * GIB)]) is None
    assert Need(free_part=0.9).missing([]) is None


def test_a_device_that_is_too_small_even_when_empty_is_not_called_busy() -> None:
    assert Need(free_bytes=90 * GIB).missing([Device("memory", 80 * GIB, 80 * GIB)]) is None


def test_every_gpu_has_to_be_free() -> None:
    missing = Need(free_part=0.9).missing([Device("GPU 0", 80 * GIB, 79 * GIB), Device("GPU 1", 80 * GIB, 0)])
    assert missing is not None
    assert missing.startswith("GPU 1 has 0.0 of 80.0 GiB free")
    assert "nobody knows who" in missing
