"""What is free on a machine, and who holds the rest."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from specs.engines.gpu_health import GpuHealth, Throttle
from specs.messages import DeviceMemory
from tests.support.fake_nvml import pynvml
from workers.engines import devices as device_module
from workers.engines.devices import (
    GIB,
    Device,
    Devices,
    Gpus,
    Holder,
    Machine,
    Need,
    _cgroup_limit,
    devices_for,
    sickness,
)


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
        (None, "0,9,2", ["GPU 0 NVIDIA H0"]),
        (None, "", []),
        (None, "9", []),
        # None of these: nothing can be said, which is no crash.
        (None, "GPU-9", []),
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


class SlowNvml:
    """NVML with a lock of its own, as its library has: held for as long as it is asked."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = threading.Event()

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own name
        self.lock.acquire()
        self.asked.set()
        time.sleep(0.5)

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVML's own name
        self.lock.release()

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's own name
        return 0


def test_a_child_that_is_forked_while_nvml_is_asked_can_ask_it_too() -> None:
    nvml = SlowNvml()
    gpus = Gpus(None, None, nvml)
    looking = threading.Thread(target=gpus.look)
    looking.start()
    nvml.asked.wait()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        gpus.look()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    looking.join()


@pytest.mark.parametrize(
    ("count", "visible", "words"),
    [
        (4, None, "GPU 3: its driver does not reach it (it shows 3 of 4)"),
        (2, "2", "GPU 1: its driver does not reach it (it shows 1 of 2)"),
        (1, "", "GPU 0: its driver does not reach it (it shows 0 of 1)"),
        (1, "3", "GPU 0: its driver does not reach it (it shows 0 of 1)"),
    ],
)
def test_gpus_that_a_worker_was_told_it_has_and_that_are_not_there_keep_work_away(
    nvml: ModuleType, monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None, words: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert words in (sickness(Gpus(count, visible, nvml).look()) or "")


def test_a_container_that_lost_its_driver_keeps_work_away(nvml: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "nvml.json").unlink()
    assert "GPU 0: its driver does not reach it (Driver Not Loaded)" in (sickness(Gpus(1, None, nvml).look()) or "")


def test_gpus_that_nvml_knows_nothing_of_are_not_called_away(
    nvml: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvml.json").unlink()
    monkeypatch.setattr(device_module, "_UNKNOWN_TO_NVML", (tmp_path,))
    assert Gpus(1, None, nvml).look() == ()


def test_of_a_gpu_that_is_divided_the_part_counts_that_cuda_shows(nvml: ModuleType, tmp_path: Path) -> None:
    part = {"name": "NVIDIA H100 MIG 3g.40gb", "uuid": "MIG-1", "total": 40 * GIB, "free": 39 * GIB, "processes": {}}
    whole = {"name": "NVIDIA H100", "uuid": "GPU-1", "mig": [None, part]}
    (tmp_path / "nvml.json").write_text(json.dumps([whole]))
    (device,) = Gpus(1, None, nvml).look()
    assert (device.product, device.total_bytes) == ("NVIDIA H100 MIG 3g.40gb", 40 * GIB)


def test_a_machine_without_gpus_is_its_memory() -> None:
    (memory,) = devices_for(0).look()
    assert memory.total_bytes >= memory.free_bytes > 0
    assert memory.holders
    assert isinstance(devices_for(0), Machine)


@pytest.mark.parametrize(
    ("active", "mapped", "free"),
    [
        # Weights of an engine that ended: read twice, and so active.
        (100, 0, 650),
        # Those of one that is up, and of a file besides.
        (100, 60, 590),
        # What is mapped may be memory that is no file's, or not active.
        (100, 160, 550),
        # The figures are not of one moment.
        (600, 0, 1000),
    ],
)
def test_a_container_has_what_its_limit_leaves_and_what_is_only_cached(
    tmp_path: Path, active: int, mapped: int, free: int
) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    stat = f"anon 300\nfile_mapped {mapped}\ninactive_file 250\nactive_file {active}\n"
    (tmp_path / "memory.stat").write_text(stat)
    assert _cgroup_limit(tmp_path) == (1000, free)
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


def told(tmp_path: Path, **facts: Any) -> Device:
    """The one GPU of a machine, of which the driver says this."""
    gpu = {"name": "NVIDIA H100", "uuid": "GPU-1", "total": 80 * GIB, "free": 79 * GIB, "processes": {}, **facts}
    (tmp_path / "nvml.json").write_text(json.dumps([gpu]))
    (device,) = Gpus(None, "0", pynvml).look()
    return device


WELL: dict[str, Any] = {
    "capability": [9, 0],
    "temperature": 61,
    "uncorrected": 0,
    "remapped": [2, 0, 0, 0],
    "throttle": 0x4,
}
"""At its power cap, as a GPU that works is."""


def test_a_gpu_that_is_well_says_so(nvml: ModuleType, tmp_path: Path) -> None:
    device = told(tmp_path, **WELL)
    assert device.compute_capability == 9.0
    assert device.health == GpuHealth(
        temperature_celsius=61, uncorrected_errors=0, remap_pending=False, remap_failed=False
    )
    assert sickness([device]) is None
    assert device.health.worries == ()


def test_what_a_card_does_not_answer_is_not_known_and_no_sickness(nvml: ModuleType, tmp_path: Path) -> None:
    device = told(tmp_path)
    assert (device.compute_capability, device.health) == (None, GpuHealth())
    assert sickness([device]) is None


def test_what_a_driver_calls_not_available_is_not_known(nvml: ModuleType, tmp_path: Path) -> None:
    device = told(tmp_path, temperature=2**32 - 1, uncorrected=2**64 - 1, throttle=2**64 - 1)
    assert device.health == GpuHealth()


def test_a_gpu_without_a_name_has_one_that_can_be_sent(nvml: ModuleType, tmp_path: Path) -> None:
    device = told(tmp_path, name="")
    assert DeviceMemory(device=device.name, total_bytes=device.total_bytes, free_bytes=device.free_bytes)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"uncorrected": 3}, "GPU 0 NVIDIA H100: its memory had 3 uncorrected errors since the last reset: reset it"),
        ({"remapped": [1, 1, 0, 1]}, "no spare rows are left for its bad memory: replace it"),
        ({"lost": True}, r"GPU 0: its driver does not reach it (GPU is lost): restart its container, reset it"),
    ],
)
def test_a_gpu_that_is_not_well_is_named_with_what_to_do(
    nvml: ModuleType, tmp_path: Path, facts: dict[str, Any], words: str
) -> None:
    assert words in (sickness([told(tmp_path, **WELL | facts)]) or "")


@pytest.mark.parametrize(
    ("facts", "throttled", "worries"),
    [
        ({"throttle": 0x40 | 0x8}, (Throttle.HEAT,), 1),
        ({"throttle": 0x80 | 0x8}, (Throttle.POWER_BRAKE,), 1),
        ({"throttle": 0x8}, (Throttle.HARDWARE,), 1),
        ({"throttle": 0x20, "remapped": [0, 1, 1, 0]}, (Throttle.HEAT,), 2),
        ({"retired": 1}, (), 1),
    ],
)
def test_clocks_that_are_held_back_and_a_repair_that_waits_are_worries_and_no_sickness(
    nvml: ModuleType, tmp_path: Path, facts: dict[str, Any], throttled: tuple[Throttle, ...], worries: int
) -> None:
    device = told(tmp_path, **WELL | facts)
    assert device.health is not None
    assert device.health.throttled == throttled
    assert len(device.health.worries) == worries
    assert sickness([device]) is None
