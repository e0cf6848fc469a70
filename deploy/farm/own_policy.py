"""The policy of a farm on one machine that was given none: the built-in one, with this machine's memory."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from specs.policy.rules import Policy
from specs.processes.atomic_write import write_atomically
from workers.engines.devices import GIB, Machine

FILE = "policy.yaml"
"""In the farm's folder."""

_HEAD = """\
# `reprofarm up` found no policy and wrote this one: the built-in policy, with this machine's memory. It is yours to
# change, and is not written again. deploy/policy.example.yaml explains every key.
"""


def write_policy(folder: Path) -> None:
    """Write it into the farm's folder."""
    (machine,) = Machine().look()
    # A tenth of a GiB at least, since a pool has to have some.
    memory_gib = max(math.floor(10 * machine.total_bytes / GIB), 1) / 10
    pools = [{**pool.model_dump(exclude_none=True), "memory_gib": memory_gib} for pool in Policy().pools]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, _HEAD + yaml.safe_dump({"version": 1, "pools": pools}, sort_keys=False))
