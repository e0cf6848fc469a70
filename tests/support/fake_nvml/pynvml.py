"""NVML's Python library as far as the farm asks it, on GPUs that a file describes.

Found instead of the real one where this folder is first on the path. The file, named by CUDA_FAKE_NVML, is JSON: a list
of {"name", "uuid", "total", "free", "processes": {pid: bytes or null}}, read anew at every nvmlInit. No file is no
driver. A GPU may have "capability", "temperature", "uncorrected", "remapped" (a list of four), "retired" and
"throttle" too; what it has not, it does not support. One with "lost": true has fallen off the bus. One
with "mig" is divided: a list of its parts, each like a GPU or null where it is another's; it does not tell its memory.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_RESET_REQUIRED = 16
NVML_TEMPERATURE_GPU = 0
NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
NVML_VOLATILE_ECC = 0
nvmlClocksThrottleReasonHwSlowdown = 0x8  # noqa: N816 - the library's own names, all of these
nvmlClocksThrottleReasonSwThermalSlowdown = 0x20  # noqa: N816
nvmlClocksThrottleReasonHwThermalSlowdown = 0x40  # noqa: N816
nvmlClocksThrottleReasonHwPowerBrakeSlowdown = 0x80  # noqa: N816


class NVMLError(Exception):
    """The one error of the library."""

    def __init__(self, said: str, value: int = 999) -> None:
        super().__init__(said)
        self.value = value


@dataclass
class _Driver:
    opened: int = 0
    gpus: list[dict[str, Any]] | None = None


_driver = _Driver()


def nvmlInit() -> None:  # noqa: N802 - the library's own names, all of these
    try:
        _driver.gpus = json.loads(Path(os.environ["CUDA_FAKE_NVML"]).read_text())
    except (KeyError, OSError) as error:
        raise NVMLError("Driver Not Loaded") from error
    _driver.opened += 1


def nvmlShutdown() -> None:  # noqa: N802
    _gpus()
    _driver.opened -= 1


def _gpus() -> list[dict[str, Any]]:
    if not _driver.opened or _driver.gpus is None:
        raise NVMLError("Uninitialized")
    return _driver.gpus


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return len(_gpus())


def nvmlDeviceGetHandleByIndex(index: int) -> int:  # noqa: N802
    if not 0 <= index < len(_gpus()):
        raise NVMLError("Invalid Argument")
    _check_there(_gpus()[index])
    return index


def _check_there(gpu: dict[str, Any]) -> None:
    if gpu.get("lost"):
        raise NVMLError("GPU is lost", NVML_ERROR_GPU_IS_LOST)


def _told(handle: int, name: str) -> Any:
    gpu = _gpus()[handle]
    _check_there(gpu)
    if name not in gpu:
        raise NVMLError("Not Supported", NVML_ERROR_NOT_SUPPORTED)
    return gpu[name]


def nvmlDeviceGetHandleByUUID(uuid: str) -> int:  # noqa: N802
    found = [index for index, gpu in enumerate(_gpus()) if gpu["uuid"] == uuid]
    if not found:
        raise NVMLError("Not Found")
    return found[0]


def nvmlDeviceGetMigMode(handle: int) -> tuple[int, int]:  # noqa: N802
    return (1, 1) if _told(handle, "mig") else (0, 0)


def nvmlDeviceGetMaxMigDeviceCount(handle: int) -> int:  # noqa: N802
    return len(_told(handle, "mig"))


def nvmlDeviceGetMigDeviceHandleByIndex(handle: int, index: int) -> int:  # noqa: N802
    part = _told(handle, "mig")[index]
    if part is None:
        raise NVMLError("Not Found", NVML_ERROR_NOT_FOUND)
    _gpus().append(part)
    return len(_gpus()) - 1


def nvmlDeviceGetIndex(handle: int) -> int:  # noqa: N802
    return handle


def nvmlDeviceGetName(handle: int) -> str:  # noqa: N802
    return str(_gpus()[handle]["name"])


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:  # noqa: N802
    gpu = _gpus()[handle]
    if "mig" in gpu:
        raise NVMLError("Insufficient Permissions", NVML_ERROR_NO_PERMISSION)
    return SimpleNamespace(total=gpu["total"], free=gpu["free"], used=gpu["total"] - gpu["free"])


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[SimpleNamespace]:  # noqa: N802
    processes = _gpus()[handle]["processes"]
    return [SimpleNamespace(pid=int(pid), usedGpuMemory=used) for pid, used in processes.items()]


def nvmlDeviceGetCudaComputeCapability(handle: int) -> tuple[int, int]:  # noqa: N802
    major, minor = _told(handle, "capability")
    return major, minor


def nvmlDeviceGetTemperature(handle: int, sensor: int) -> int:  # noqa: N802
    if sensor != NVML_TEMPERATURE_GPU:
        raise NVMLError("Invalid Argument")
    return int(_told(handle, "temperature"))


def nvmlDeviceGetTotalEccErrors(handle: int, kind: int, counter: int) -> int:  # noqa: N802
    if (kind, counter) != (NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC):
        raise NVMLError("Invalid Argument")
    return int(_told(handle, "uncorrected"))


def nvmlDeviceGetRemappedRows(handle: int) -> tuple[int, int, int, int]:  # noqa: N802
    corrected, uncorrected, pending, failed = _told(handle, "remapped")
    return corrected, uncorrected, pending, failed


def nvmlDeviceGetRetiredPagesPendingStatus(handle: int) -> int:  # noqa: N802
    return int(_told(handle, "retired"))


def nvmlDeviceGetCurrentClocksThrottleReasons(handle: int) -> int:  # noqa: N802
    return int(_told(handle, "throttle"))
