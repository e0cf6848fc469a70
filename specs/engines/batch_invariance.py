"""Kernels whose sums do not depend on what else is in a batch: vLLM's `VLLM_BATCH_INVARIANT=1`, and who has them."""

from __future__ import annotations

from collections.abc import Sequence

VARIABLE = "VLLM_BATCH_INVARIANT"
"""Of the engine's environment: 1 has it use them."""

LEAST_CAPABILITY = 8.0
"""Of a GPU. vLLM 0.32 replaces matrix products on 8.x and fixes how cuBLASLt sums on what is newer
(`enable_batch_invariant_mode` in vllm/model_executor/determinism/batch_invariant.py). Of older ones it says nothing,
and the attention kernels that promise it begin at 8.0 too (`FlashAttentionBackend.supports_compute_capability`). On a
CPU nothing reads the variable."""


def have_kernels(capabilities: Sequence[float | None]) -> bool:
    """Whether all of an engine's GPUs are known to have them; None is a GPU of which nothing is known."""
    return bool(capabilities) and all(each is not None and each >= LEAST_CAPABILITY for each in capabilities)
