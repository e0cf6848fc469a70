"""No engine is started where its memory is not free; on the memory of this machine."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from specs.engines.gpu_health import GpuHealth
from specs.policy.rules import EngineRules
from workers.engines.devices import GIB, Device
from workers.engines.gate import Gate
from workers.errors import DeviceBusy
from workers.settings import WorkerSettings
from workers.shared_state import SharedState


def gate(tmp_path: Path, minimum_free_gib: float = 0.0) -> tuple[Gate, SharedState]:
    shared = SharedState(tmp_path / "board")
    # As if the main process had stopped consuming.
    shared.heed()
    settings = WorkerSettings(minimum_free_gib=minimum_free_gib, device_patience_seconds=0.2)
    return Gate(settings, shared), shared


def model(tmp_path: Path, weights_bytes: int) -> Path:
    with (tmp_path / "model.safetensors").open("wb") as file:
        # A hole: it takes no room on the disk.
        file.truncate(weights_bytes)
    return tmp_path


def test_a_machine_with_room_lets_an_engine_start(tmp_path: Path) -> None:
    found, shared = gate(tmp_path)
    found.wait_until_free(model(tmp_path, 1000), EngineRules(kv_cache_gib=1), 0, lambda: None)
    assert shared.quarantined() is None


def test_memory_that_somebody_else_holds_stops_it_and_is_on_the_board(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    # More than is free, and less than there is: what others hold on this machine is real.
    asked = (memory.available + memory.total) / 2 / GIB
    found, shared = gate(tmp_path, minimum_free_gib=asked)
    waited: list[int] = []
    with pytest.raises(DeviceBusy, match=r"the device of this worker is not free: memory has .* in use by pid \d+"):
        found.wait_until_free(model(tmp_path, 1000), EngineRules(), 0, lambda: waited.append(1))
    assert waited
    noted = shared.quarantined()
    assert noted is not None
    assert noted.free_bytes == int(asked * GIB)


def test_weights_and_cache_count_as_what_is_needed(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    between = (memory.available + memory.total) // 2
    found, shared = gate(tmp_path)
    weights = int((between - GIB) / 1.2)
    with pytest.raises(DeviceBusy):
        found.wait_until_free(model(tmp_path, weights), EngineRules(kv_cache_gib=1), 0, lambda: None)
    assert shared.quarantined() is not None


def test_what_ends_the_wait_ends_it(tmp_path: Path) -> None:
    class NotWantedError(Exception):
        pass

    def dropped() -> None:
        raise NotWantedError

    memory = psutil.virtual_memory()
    found, shared = gate(tmp_path, minimum_free_gib=(memory.available + memory.total) / 2 / GIB)
    with pytest.raises(NotWantedError):
        found.wait_until_free(model(tmp_path, 1000), EngineRules(), 0, dropped)
    assert shared.quarantined() is None


def test_no_engine_is_started_on_a_gpu_that_is_not_well(tmp_path: Path) -> None:
    class Ill:
        def look(self) -> tuple[Device, ...]:
            return (Device("GPU 0", 80 * GIB, 80 * GIB, health=GpuHealth(uncorrected_errors=1)),)

    shared = SharedState(tmp_path / "board")
    shared.heed()
    found = Gate(WorkerSettings(), shared, lambda _: Ill())
    with pytest.raises(DeviceBusy, match="the device of this worker is not well: GPU 0: its memory had 1 uncorrected"):
        found.wait_until_free(model(tmp_path, 1000), EngineRules(), 1, lambda: None)
    noted = shared.quarantined()
    assert noted is not None
    assert "its device is not well" in noted.reason
