"""No engine is started where its memory is not free; on the memory of this machine."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from specs.engines.gpu_health import GpuHealth
from specs.engines.model_weights import EngineDtype
from specs.errors import EngineError
from specs.messages import AttemptOutcome, ModelRef
from specs.policy.engine import EngineRules
from tests.support.small_repos import write_large_weights
from workers.batches.order_end import failure
from workers.engines.devices import GIB, Device
from workers.engines.engine_manager import EngineManager
from workers.engines.engine_process import EngineCommand
from workers.engines.gate import Gate
from workers.errors import DeviceBusy, OutOfMemory
from workers.settings import WorkerSettings
from workers.shared_state import SharedState


def gate(tmp_path: Path, minimum_free_gib: float = 0.0) -> tuple[Gate, SharedState]:
    shared = SharedState(tmp_path / "board")
    # As if the main process had stopped consuming.
    shared.heed()
    settings = WorkerSettings(minimum_free_gib=minimum_free_gib, device_patience_seconds=0.2)
    return Gate(settings, shared), shared


def model(tmp_path: Path, weights_bytes: int) -> Path:
    write_large_weights(tmp_path / "model.safetensors", "BF16", weights_bytes // 2, 2)
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


@pytest.mark.parametrize(
    ("weights_gib", "free_gib", "fault"),
    [
        (9, 12.0, None),
        # 9 × 1.2 + 1 GiB, of 12.7 that engines get: somebody else has some of it.
        (9, 11.0, DeviceBusy),
        # 14.2 GiB: nobody else has anything.
        (11, 13.9, OutOfMemory),
    ],
)
def test_memory_that_one_model_lacks_keeps_no_smaller_one_away(
    tmp_path: Path, weights_gib: int, free_gib: float, fault: type[Exception] | None
) -> None:
    class Machine:
        def look(self) -> tuple[Device, ...]:
            return (Device("memory", 16 * GIB, int(free_gib * GIB)),)

    shared, rules = SharedState(tmp_path / "board"), EngineRules(kv_cache_gib=1)
    shared.heed()
    found = Gate(WorkerSettings(device_patience_seconds=0.2), shared, lambda _: Machine())
    with nullcontext() if fault is None else pytest.raises(fault, match=f"memory has {free_gib} of 16.0 GiB free"):
        found.wait_until_free(model(tmp_path, weights_gib * GIB), rules, 0, lambda: None)
    assert shared.quarantined() is None
    found.wait_until_free(model(tmp_path, 1000), rules, 0, lambda: None)


@pytest.mark.parametrize(
    ("stored", "bytes_each", "dtype", "lets_in"),
    [("F32", 4, "auto", True), ("F32", 4, "float32", False), ("BF16", 2, "float32", False), ("I32", 4, "auto", False)],
)
def test_weights_count_as_they_are_served(
    tmp_path: Path, stored: str, bytes_each: int, dtype: EngineDtype, *, lets_in: bool
) -> None:
    # In half precision they have room, and no others.
    numbers = int(psutil.virtual_memory().available * 0.7 / 1.2 / 2)
    write_large_weights(tmp_path / "model.safetensors", stored, numbers, bytes_each)
    found, _ = gate(tmp_path)
    with nullcontext() if lets_in else pytest.raises((DeviceBusy, OutOfMemory)):
        found.wait_until_free(tmp_path, EngineRules(dtype=dtype, kv_cache_gib=1), 0, lambda: None)


def test_an_engine_too_large_for_the_whole_machine_is_out_of_memory_and_nobody_elses_fault(tmp_path: Path) -> None:
    found, shared = gate(tmp_path)
    with pytest.raises(OutOfMemory, match=r"reckoned to need .* GiB, and the machine of this worker has"):
        found.wait_until_free(model(tmp_path, psutil.virtual_memory().total), EngineRules(), 0, lambda: None)
    assert shared.quarantined() is None


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


def starts_none(
    tmp_path: Path, end: str = "sys.exit('CUDA error: no kernel image')"
) -> tuple[EngineManager, SharedState]:
    """Of a worker whose engines end as they start."""
    found, shared = gate(tmp_path)
    command = EngineCommand([sys.executable, "-c", f"import sys; {end}"])
    return EngineManager(tmp_path / "engine", command, found, shared), shared


def start(manager: EngineManager, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    model_ref = ModelRef(model_id=f"org/{name}", revision="a" * 40)
    manager.engine_for(model_ref, model(folder, 1000), EngineRules(kv_cache_gib=1), 0)


def test_a_worker_on_which_engines_of_no_model_start_takes_itself_out(tmp_path: Path) -> None:
    manager, shared = starts_none(tmp_path)
    for name in ("one", "one", "one"):
        with pytest.raises(EngineError, match="the engine ended while it was starting"):
            start(manager, tmp_path, name)
        assert shared.quarantined() is None, "it may be that model"
    for _ in range(2):
        with pytest.raises(
            DeviceBusy, match="the device of this worker starts no engine, whichever the model"
        ) as fault:
            start(manager, tmp_path, "two")
        assert failure(fault.value).outcome is AttemptOutcome.DEVICE_BUSY, "which uses up no attempt"
        noted = shared.quarantined()
        assert noted is not None
        assert noted.until is not None
        # What was taken meanwhile is not tried.
        with pytest.raises(DeviceBusy, match="its device starts no engine"):
            start(manager, tmp_path, "three")
        assert shared.quarantined() == noted
        # It is time for one try, of whichever model.
        shared.quarantine(noted.model_copy(update={"until": datetime.now(UTC)}))
        shared.heed()


def test_what_starts_between_or_lacks_memory_is_no_sign_of_a_device_of_no_use(tmp_path: Path) -> None:
    found, shared = gate(tmp_path)
    for name in ("one", "two"):
        found.note_failure(name, EngineError("it ended"))
    found.note_start()
    for name in ("one", "two"):
        found.note_failure(name, EngineError("it ended"))
    manager, _ = starts_none(tmp_path, "sys.exit('torch.OutOfMemoryError: CUDA out of memory')")
    for name in ("one", "two", "three", "four"):
        with pytest.raises(OutOfMemory):
            start(manager, tmp_path, name)
    assert shared.quarantined() is None
