"""Where an engine on a CPU computes: in the process of its core, as one GPU's does, instead of in one more.

On CPUs vLLM (0.32, vllm/platforms/cpu.py) gives the model a process of its own, so that it can bind OpenMP's threads
to the cores of one memory node. That process imports vLLM once more, and the core waits for it without sleeping: as
much of a core as what is computed takes. Where there is one memory node, there is nothing to bind to.

vLLM calls it unsupported on CPUs, so there is a way back: `VLLM_ENABLE_V1_MULTIPROCESSING=1` in a worker's environment.
"""

from __future__ import annotations

import os
from pathlib import Path

AS_VLLM_DOES = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
"""In a worker's environment: leave it to vLLM."""

_NODES = Path("/sys/devices/system/node")


def cpu_variables(nodes: Path = _NODES) -> dict[str, str]:
    """What an engine on this machine's CPU is told by its environment."""
    if AS_VLLM_DOES.items() <= os.environ.items() or len(list(nodes.glob("node[0-9]*"))) > 1:
        return {}
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(_threads()),
    }


def _threads() -> int:
    """As vLLM has it, one for each core but one, which is for whoever asks; of what a container is limited to."""
    from joblib import cpu_count  # noqa: PLC0415 - a third of a second, which workers with GPUs do not need

    return max(int(cpu_count(only_physical_cores=True)) - 1, 1)
