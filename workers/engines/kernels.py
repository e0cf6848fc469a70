"""Whether an engine is started with batch-invariant kernels: what policy wants, and what the hardware has."""

from __future__ import annotations

from collections.abc import Callable

from specs.engines.batch_invariance import LEAST_CAPABILITY, have_kernels
from specs.errors import EngineError
from specs.policy.rules import EngineRules
from workers.engines.devices import Devices


def use_batch_invariant(rules: EngineRules, gpus: int, devices: Callable[[int | None], Devices]) -> bool:
    """Whether to.

    Raises:
        EngineError: policy requires them, and this worker's GPUs are not known to have them.
    """
    if rules.batch_invariant == "off":
        return False
    found = devices(gpus).look() if gpus > 0 else ()
    if have_kernels([each.compute_capability for each in found]):
        return True
    if rules.batch_invariant == "where_possible":
        return False
    what = ", ".join(f"{each.name} of {each.compute_capability or 'unknown capability'}" for each in found)
    raise EngineError(
        f"policy requires batch-invariant kernels, which take GPUs of compute capability {LEAST_CAPABILITY:.1f} or "
        f"higher; this worker has {what or 'none that its driver shows'}"
    )
