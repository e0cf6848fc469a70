"""What an engine is told by variables of its environment, where vLLM takes no argument for it."""

from __future__ import annotations

from pathlib import Path

from specs.engines.batch_invariance import VARIABLE
from workers.engines.cpu_executor import cpu_variables
from workers.processes.guarded import clean_environment

SYSTEM_START_DATE = "2025-08-05"
"""The day that gpt-oss is told of, that of its release: left alone, vLLM writes the current one into each prompt, and
asks otherwise on another day."""


def engine_environment(folder: Path) -> dict[str, str]:
    """What every engine sees of this machine and worker; it writes to `folder`."""
    return clean_environment(
        VLLM_NO_USAGE_STATS="1",
        VLLM_USE_MODELSCOPE="0",
        DO_NOT_TRACK="1",
        VLLM_SYSTEM_START_DATE=SYSTEM_START_DATE,
        VLLM_CACHE_ROOT=str(vllm_cache(folder)),
        HF_HUB_OFFLINE="1",
        HF_HOME=str(folder / "hf-home"),
        TOKENIZERS_PARALLELISM="false",
        # On CUDA vLLM samples by FlashInfer, which is compiled while the engine starts: without a CUDA toolkit, which
        # its wheels do not bring, no engine comes up (https://github.com/vllm-project/vllm/issues/49497). Nothing is
        # lost: FlashInfer takes no request that has a seed (`TopKTopPSampler.forward_cuda`), and all of ours have one.
        VLLM_USE_FLASHINFER_SAMPLER="0",
        # NVML counts GPUs so, and CUDA by speed unless told otherwise. What is looked after (devices.py) has to be what
        # is used.
        CUDA_DEVICE_ORDER="PCI_BUS_ID",
    )


def vllm_cache(folder: Path) -> Path:
    """Where engines that write to a folder compile to."""
    return folder / "vllm"


def own_variables(api_key: str, gpus: int, *, kv_cache_gib: int, batch_invariant: bool, sleeps: bool) -> dict[str, str]:
    """What one engine sees besides. vLLM reads these while it starts; those above, some libraries when imported."""
    return {
        "VLLM_API_KEY": api_key,
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        # Said either way: what this worker's own environment says is no part of the record.
        VARIABLE: str(int(batch_invariant)),
        **({"VLLM_SERVER_DEV_MODE": "1"} if sleeps else {}),
        **(cpu_variables() if gpus == 0 else {}),
    }
