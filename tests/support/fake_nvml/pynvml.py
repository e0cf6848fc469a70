"""NVML's Python library as far as the farm asks it, on GPUs that a file describes.

Found instead of the real one where this folder is first on the path. The file, named by CUDA_FAKE_NVML, is JSON: a list
of {"name", "uuid", "total", "free", "processes": {pid: bytes or null}}, read anew at every nvmlInit. No file is no
driver.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """The one error of the library."""


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
    return index


def nvmlDeviceGetHandleByUUID(uuid: str) -> int:  # noqa: N802
    found = [index for index, gpu in enumerate(_gpus()) if gpu["uuid"] == uuid]
    if not found:
        raise NVMLError("Not Found")
    return found[0]


def nvmlDeviceGetIndex(handle: int) -> int:  # noqa: N802
    return handle


def nvmlDeviceGetName(handle: int) -> str:  # noqa: N802
    return str(_gpus()[handle]["name"])


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:  # noqa: N802
    gpu = _gpus()[handle]
    return SimpleNamespace(total=gpu["total"], free=gpu["free"], used=gpu["total"] - gpu["free"])


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[SimpleNamespace]:  # noqa: N802
    processes = _gpus()[handle]["processes"]
    return [SimpleNamespace(pid=int(pid), usedGpuMemory=used) for pid, used in processes.items()]
