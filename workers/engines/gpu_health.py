"""Asks NVML how a GPU is. Each question by itself: many cards answer only some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from specs.engines.gpu_health import GpuHealth, Throttle
from specs.text import clean

T = TypeVar("T")

_NOT_AVAILABLE = frozenset({-1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1})
"""`NVML_VALUE_NOT_AVAILABLE` of nvml.h, as each type of number shows it."""


def is_lost(nvml: Any, error: Exception) -> bool:
    """Whether an error of NVML says that the GPU itself is gone, and not that a question has no answer."""
    return getattr(error, "value", None) in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED)


def unreachable(said: str) -> GpuHealth:
    """Of a GPU of which nothing can be read; `said` is what its driver says instead."""
    return GpuHealth(unreachable=clean(said, 200) or "no answer")


def ask(nvml: Any, handle: Any) -> GpuHealth:
    """How the GPU is now."""
    try:
        remapped = _answer(nvml, lambda: nvml.nvmlDeviceGetRemappedRows(handle))
        # Cards from before Ampere retire whole pages instead.
        retired = _answer(nvml, lambda: nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle))
        pending = [bool(each) for each in (remapped[2] if remapped is not None else None, retired) if each is not None]
        celsius = _answer(nvml, lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)))
        kind, since = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        errors = _answer(nvml, lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, kind, since)))
        reasons = _answer(nvml, lambda: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)))
        return GpuHealth(
            temperature_celsius=_known(celsius),
            uncorrected_errors=_known(errors),
            remap_pending=any(pending) if pending else None,
            remap_failed=bool(remapped[3]) if remapped is not None else None,
            throttled=_throttled(nvml, _known(reasons)),
        )
    except nvml.NVMLError as error:
        return unreachable(str(error))


def _answer(nvml: Any, question: Callable[[], T]) -> T | None:
    """None where the card has none; an error that says that it is lost goes on."""
    try:
        return question()
    except nvml.NVMLError as error:
        if is_lost(nvml, error):
            raise
        return None


def _known(value: int | None) -> int | None:
    """None also for what NVML has for "not available", which is the largest number that there is room for."""
    return None if value in _NOT_AVAILABLE else value


def _throttled(nvml: Any, reasons: int | None) -> tuple[Throttle, ...]:
    bits = reasons or 0
    found = []
    if bits & (nvml.nvmlClocksThrottleReasonHwThermalSlowdown | nvml.nvmlClocksThrottleReasonSwThermalSlowdown):
        found.append(Throttle.HEAT)
    if bits & nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown:
        found.append(Throttle.POWER_BRAKE)
    if not found and bits & nvml.nvmlClocksThrottleReasonHwSlowdown:
        found.append(Throttle.HARDWARE)
    return tuple(found)
