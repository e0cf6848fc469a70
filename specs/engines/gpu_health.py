"""How a GPU is, as its driver tells (NVML), and what follows from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from specs.contract import Contract


class Throttle(StrEnum):
    """Why the hardware holds a GPU's clocks back: NVML's clocks event reasons that mean trouble.

    Its power cap (`SwPowerCap`) is not among them: a GPU that works hard meets it.
    """

    HEAT = "heat"
    """Too hot: `HwThermalSlowdown` or `SwThermalSlowdown`."""

    POWER_BRAKE = "power_brake"
    """The power supply asks for less: `HwPowerBrakeSlowdown`."""

    HARDWARE = "hardware"
    """`HwSlowdown`, where neither of the others is named."""


class GpuHealth(Contract):
    """One GPU. None is what its driver does not say, as much of it on consumer cards and in virtual machines."""

    temperature_celsius: Annotated[int, Field(ge=-100, le=1000)] | None = None
    uncorrected_errors: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    """Of its memory (ECC), since the driver was loaded or the GPU was reset."""

    remap_pending: bool | None = None
    """Bad memory is replaced by spare rows, or a page retired, at the next reset."""

    remap_failed: bool | None = None
    """No spare row was left."""

    throttled: Annotated[tuple[Throttle, ...], Field(max_length=8)] = ()
    unreachable: Annotated[str, Field(max_length=200)] | None = None
    """What the driver says instead of answering, of a GPU that is away or has to be reset."""

    @property
    def sickness(self) -> str | None:
        """Why nothing is to be run on it; None where nothing speaks against it.

        What NVIDIA's "GPU Memory Error Management" and "Xid Errors" have an operator reset or replace. Driver events
        (Xids) themselves are not kept for whoever asks later; their effects are.
        """
        if self.unreachable is not None:
            return f"its driver does not reach it ({self.unreachable}): restart its container, reset it, or the machine"
        if self.remap_failed:
            return "no spare rows are left for its bad memory: replace it"
        if self.uncorrected_errors:
            return f"its memory had {self.uncorrected_errors} uncorrected errors since the last reset: reset it"
        return None

    @property
    def worries(self) -> tuple[str, ...]:
        """What somebody should look at, and what keeps no run away."""
        found = []
        if self.remap_pending:
            found.append("bad memory is replaced at its next reset")
        if self.throttled:
            found.append(f"its clocks are held back: {', '.join(each.replace('_', ' ') for each in self.throttled)}")
        return tuple(found)
