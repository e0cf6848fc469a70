"""The devices that an engine would use, their memory and who holds it: GPUs by NVML, a CPU pool's machine by psutil."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from specs.engines.gpu_health import GpuHealth
from specs.text import clean
from workers.engines import gpu_health

GIB = 2**30
MAX_NAMED = 8
SHOWN_HOLDERS = 3
"""Of a machine's memory, which every process uses."""

_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN_TO_NVML = (Path("/dev/kfd"), Path("/etc/nv_tegra_release"))
"""On a machine with GPUs of AMD, or of a Tegra: that NVML shows none says nothing there."""

_log = logging.getLogger(__name__)

_nvml_lock = threading.Lock()
# A child that is forked while another thread asks NVML would have NVML's own locks held for ever.
os.register_at_fork(before=_nvml_lock.acquire, after_in_parent=_nvml_lock.release, after_in_child=_nvml_lock.release)


@dataclass(frozen=True)
class Holder:
    """A process that uses a device."""

    pid: int
    name: str | None
    """None where the process cannot be seen from here, as from inside a container."""

    used_bytes: int | None
    """None where the driver does not say."""

    def __str__(self) -> str:
        held = "" if self.used_bytes is None else f", {self.used_bytes / GIB:.1f} GiB"
        return f"pid {self.pid} ({self.name or 'not visible from here'}{held})"


@dataclass(frozen=True)
class Device:
    """One device as it was found."""

    name: str
    total_bytes: int
    free_bytes: int
    holders: tuple[Holder, ...] = ()
    """As far as they are known; of a machine's memory, the largest processes."""

    compute_capability: float | None = None
    """Of a GPU; None where the driver does not say."""

    health: GpuHealth | None = None
    """Of a GPU."""

    product: str | None = None
    """What its maker calls a GPU."""


class Devices(Protocol):
    """What an engine of this worker would use."""

    def look(self) -> tuple[Device, ...]:
        """Each device as it is now; empty where nothing can be found out."""


class Machine:
    """The machine's memory, or of it what the container may use."""

    def look(self) -> tuple[Device, ...]:
        """One device."""
        memory = psutil.virtual_memory()
        total, free = memory.total, memory.available
        limit = _cgroup_limit(_CGROUP)
        if limit is not None and limit[0] < total:
            total, free = limit[0], min(free, limit[1])
        return (Device("memory", total, free, _largest_processes()),)


@dataclass(frozen=True)
class _Handle:
    """What NVML calls a GPU."""

    label: str
    handle: Any
    health: GpuHealth | None
    """Of one that cannot be reached."""


class Gpus:
    """The first GPUs that a process of this environment would get from CUDA, as NVML sees them."""

    def __init__(self, count: int | None, visible: str | None = None, nvml: Any = None) -> None:
        """Of so many GPUs; None is all.

        `visible` is CUDA_VISIBLE_DEVICES, by default that of this process: indexes or UUIDs; NVML knows nothing of it.
        `nvml` is the library; None is the package nvidia-ml-py.
        """
        self._count = count
        self._visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
        self._nvml = nvml if nvml is not None else _library()

    def look(self) -> tuple[Device, ...]:
        """One device for each GPU, those too that should be there and are not; empty where nothing can be found out."""
        if self._nvml is None:
            return ()
        with _nvml_lock:
            return self._look()

    def _look(self) -> tuple[Device, ...]:
        # Opened anew each time: a driver that was reset or came late is found, and a fork inherits nothing open.
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            # So it is in a container without the driver, or that lost it while it ran. No engine starts there, and each
            # that is tried would cost a run one of its attempts.
            _log.debug("NVML does not answer: %s", error)
            return self._missing(0, str(error))
        try:
            found = tuple(self._device(handle) for handle in self._handles())
        except self._nvml.NVMLError as error:
            _log.warning("NVML does not say what its GPUs hold: %s", error)
            return ()
        finally:
            self._nvml.nvmlShutdown()
        return found + self._missing(len(found), f"it shows {len(found)} of {self._count}")

    def _missing(self, there: int, why: str) -> tuple[Device, ...]:
        """The GPUs that are not there; none where nobody said how many there have to be."""
        if self._count is None or any(each.exists() for each in _UNKNOWN_TO_NVML):
            return ()
        health = gpu_health.unreachable(why)
        return tuple(Device(f"GPU {number}", 0, 0, health=health) for number in range(there, self._count))

    def _handles(self) -> list[_Handle]:
        if self._visible is None:
            every = range(self._nvml.nvmlDeviceGetCount())[: self._count]
            return [self._open(f"GPU {each}", self._nvml.nvmlDeviceGetHandleByIndex, each) for each in every]
        found: list[_Handle] = []
        for name in filter(None, (each.strip() for each in self._visible.split(","))):
            if name.lstrip("-").isdigit():
                # As CUDA does: what comes after a number that no GPU has is not seen.
                if not 0 <= int(name) < self._nvml.nvmlDeviceGetCount():
                    break
                found.append(self._open(f"GPU {name}", self._nvml.nvmlDeviceGetHandleByIndex, int(name)))
            else:
                found.append(self._open(clean(name, 100), self._nvml.nvmlDeviceGetHandleByUUID, name))
        return found[: self._count]

    def _open(self, label: str, ask_for: Callable[[Any], Any], name: int | str) -> _Handle:
        try:
            return _Handle(label, self._first_part(ask_for(name)), None)
        except self._nvml.NVMLError as error:
            if not gpu_health.is_lost(self._nvml, error):
                raise
            return _Handle(label, None, gpu_health.unreachable(str(error)))

    def _first_part(self, handle: Any) -> Any:
        """Of a GPU that is divided (MIG) the first part that is this process's, which is all that CUDA shows it.

        In a container that has a part, nothing may be asked of the whole
        (https://github.com/NVIDIA/nvidia-container-toolkit/issues/842).
        """
        try:
            divided, _ = self._nvml.nvmlDeviceGetMigMode(handle)
            parts = self._nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if divided else 0
        except self._nvml.NVMLError as error:
            if gpu_health.is_lost(self._nvml, error):
                raise
            return handle
        for index in range(parts):
            try:
                return self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except self._nvml.NVMLError:
                continue
        return handle

    def _device(self, opened: _Handle) -> Device:
        if opened.health is not None:
            return Device(opened.label, 0, 0, health=opened.health)
        try:
            return self._described(opened.handle)
        except self._nvml.NVMLError as error:
            if not gpu_health.is_lost(self._nvml, error):
                raise
            return Device(opened.label, 0, 0, health=gpu_health.unreachable(str(error)))

    def _described(self, handle: Any) -> Device:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        name = self._nvml.nvmlDeviceGetName(handle)
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        product = clean(text, 100)
        return Device(
            clean(f"GPU {self._nvml.nvmlDeviceGetIndex(handle)} {product}", 120),
            int(memory.total),
            int(memory.free),
            self._holders(handle),
            self._capability(handle),
            gpu_health.ask(self._nvml, handle),
            product,
        )

    def _capability(self, handle: Any) -> float | None:
        try:
            major, minor = self._nvml.nvmlDeviceGetCudaComputeCapability(handle)
        except self._nvml.NVMLError:
            return None
        return float(f"{major}.{minor}")

    def _holders(self, handle: Any) -> tuple[Holder, ...]:
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError:
            return ()
        return tuple(
            Holder(
                int(each.pid), _name_of(int(each.pid)), None if each.usedGpuMemory is None else int(each.usedGpuMemory)
            )
            for each in processes[:MAX_NAMED]
        )


@dataclass(frozen=True)
class Need:
    """Memory that has to be free before an engine is started."""

    free_bytes: int = 0
    """Of each device."""

    free_part: float = 0.0
    """Of each device's total."""

    def missing(self, devices: Sequence[Device]) -> str | None:
        """What is not free and who holds it, in words; None where all is.

        A device that would be too small even when empty is not short of free memory: its engine will say so.
        """
        short = []
        for each in devices:
            needed = max(self.free_bytes, int(self.free_part * each.total_bytes))
            if each.free_bytes < min(needed, each.total_bytes):
                who = ", ".join(map(str, each.holders)) or "nobody knows who"
                short.append(
                    f"{each.name} has {each.free_bytes / GIB:.1f} of {each.total_bytes / GIB:.1f} GiB free, needed are "
                    f"{needed / GIB:.1f}; in use by {who}"
                )
        return clean("; ".join(short), 1500) or None


def sickness(devices: Sequence[Device]) -> str | None:
    """What keeps work away from devices that are ill, in words; None where all are well, as far as is known."""
    found = [(each.name, each.health.sickness) for each in devices if each.health is not None]
    return clean("; ".join(f"{name}: {why}" for name, why in found if why is not None), 1500) or None


def devices_for(gpus: int | None) -> Devices:
    """What a worker with so many GPUs uses; None is every GPU that there is, else the machine."""
    if gpus == 0:
        return Machine()
    found = Gpus(gpus)
    return found if gpus is not None or found.look() else Machine()


def _library() -> Any:
    try:
        import pynvml  # noqa: PLC0415 - not on every machine
    except ImportError:
        return None
    return pynvml


def _name_of(pid: int) -> str | None:
    try:
        return clean(psutil.Process(pid).name(), 60)
    except psutil.Error:
        return None


def _largest_processes() -> tuple[Holder, ...]:
    found = [
        Holder(each.pid, clean(each.info["name"] or "", 60) or None, each.info["memory_info"].rss)
        for each in psutil.process_iter(["name", "memory_info"])
        if each.info["memory_info"] is not None
    ]
    return tuple(sorted(found, key=lambda each: each.used_bytes or 0, reverse=True)[:SHOWN_HOLDERS])


def _cgroup_limit(root: Path) -> tuple[int, int] | None:
    """Bytes that this container may use, and those of them that are free (cgroup v2); None without such a limit."""
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        # Cached files are given up when memory runs short. Weights count as active once they were read and then mapped,
        # also when their engine has ended; what is mapped is in use.
        unmapped = max(int(stat["active_file"]) - int(stat["file_mapped"]), 0)
        return limit, min(max(limit - used + int(stat["inactive_file"]) + unmapped, 0), limit)
    except (OSError, ValueError, KeyError):
        return None
