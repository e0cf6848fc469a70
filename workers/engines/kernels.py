"""Whether an engine is started with batch-invariant kernels: what policy wants, and what the hardware has."""

from __future__ import annotations

from collections.abc import Callable

from specs.engines.batch_invariance import LEAST_CAPABILITY, have_kernels
from specs.errors import EngineError
from specs.policy.engine import EngineRules
from workers.engines.devices import Device, Devices


class Kernels:
    """Those of a worker's GPUs, which are asked until each of them has said what it can."""

    def __init__(self, devices: Callable[[int | None], Devices]) -> None:
        self._devices = devices
        self._known: dict[int, tuple[Device, ...]] = {}
        """The first so many GPUs, as they were when each said it. They stay what they are: a moment without their
        driver would have another engine wanted, and the one that is up ended, with runs on it."""

    def use_batch_invariant(self, rules: EngineRules, gpus: int) -> bool:
        """Whether to.

        Raises:
            EngineError: policy requires them, and this worker's GPUs are not known to have them.
        """
        if rules.batch_invariant == "off":
            return False
        found = self._gpus(gpus) if gpus > 0 else ()
        if have_kernels([each.compute_capability for each in found]):
            return True
        if rules.batch_invariant == "where_possible":
            return False
        what = ", ".join(f"{each.name} of {each.compute_capability or 'unknown capability'}" for each in found)
        raise EngineError(
            f"policy requires batch-invariant kernels, which take GPUs of compute capability {LEAST_CAPABILITY:.1f} or "
            f"higher; this worker has {what or 'none that its driver shows'}"
        )

    def _gpus(self, count: int) -> tuple[Device, ...]:
        found = self._known.get(count) or self._devices(count).look()
        if len(found) == count and all(each.compute_capability is not None for each in found):
            self._known[count] = found
        return found
