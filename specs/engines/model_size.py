"""How much memory an engine needs for a model: weights and KV cache, in bytes.

The cache is reckoned as vLLM 0.32 does (`page_size_bytes` and `max_memory_usage_bytes` in
vllm/v1/kv_cache_interface.py): for each token, layer and head that keys are kept for, a key and a value in the dtype
that is served; of several GPUs each holds its heads, one at least. A layer that looks back through a window holds the
window and the tokens that are being worked on, of two batches on a GPU, however long the sequence.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.engines.model_config import ModelConfig
from specs.engines.model_weights import EngineDtype, bytes_in_memory

WEIGHTS_OVERHEAD = 1.2
"""Bytes in memory for each byte of weights on a CPU, and anywhere if nothing is known of a model but its files."""

ENGINE_PART = 0.92
"""Of a device's memory that engines get. Of a GPU's it is vLLM's default (`gpu_memory_utilization` in
vllm/config/cache.py)."""

MACHINE_OVERHEAD_BYTES = 2 * 2**30
"""Of a machine's memory, assumed for what is no engine's: the system, and what a worker forks runs and engines from."""

BATCHED_TOKENS = 8192
"""Tokens that vLLM works on in one step at most: `max_num_batched_tokens` of a server on the GPUs that most pools have
(`get_batch_defaults` in vllm/engine/arg_utils.py). Smaller ones and CPUs have fewer, for which this errs upwards."""

LARGE_GPU_GIB = 160
LARGE_BATCHED_TOKENS = 16384
"""The same on GPUs of so much memory."""

BATCHES = 2
"""Steps that are under way at once on GPUs: the next is scheduled while one is computed (`max_concurrent_batches` in
vllm/config/vllm.py)."""


def room_on_a_machine(memory_bytes: float) -> int:
    """Bytes that engines get on a CPU, of all that its machine or container has; 0 or less where that is very little.

    More is not free there even while no engine is up.
    """
    return int(memory_bytes * ENGINE_PART) - MACHINE_OVERHEAD_BYTES


def tokens_in_flight(gpu_gib: float) -> int:
    """Tokens that vLLM works on at once at most, on GPUs of so much memory.

    The layers of a window hold so many beyond it: `max_in_flight_tokens` in vllm/config/vllm.py.
    """
    return BATCHES * (LARGE_BATCHED_TOKENS if gpu_gib >= LARGE_GPU_GIB else BATCHED_TOKENS)


class ModelSize(Contract):
    """What is known of a model's size."""

    file_bytes: Annotated[int, Field(gt=0)]
    """Of the weights' files."""

    counts: dict[str, int]
    """Numbers in them by dtype, as the Hub counts; empty where it does not say."""

    config: ModelConfig | None
    config_problem: str
    """Why there is no config; empty where there is one."""

    mistral_format: bool = False
    """Whether its weights are there in Mistral's own format too, which is not fetched, and goes before all else with
    vLLM where it is."""

    elsewhere: str = ""
    """Why an engine would load another model's weights, or has no weights or no tokenizer that it could; empty where
    none of that is so, or nobody looked."""

    @classmethod
    def of_files(cls, file_bytes: int, problem: str) -> ModelSize:
        """Where nothing is known but the size of the files, and why."""
        return cls(file_bytes=file_bytes, counts={}, config=None, config_problem=problem)

    @property
    def is_quantised(self) -> bool:
        """Whether the weights are packed, and so not cast."""
        return self.config is not None and self.config.quantization is not None

    @staticmethod
    def served_bits(dtype: EngineDtype) -> int:
        """Bits of a plain number once it is served.

        `auto` is half precision, for weights published in float32 too: `_resolve_auto_dtype` in vllm/config/model.py.
        """
        return 32 if dtype == "float32" else 16

    def weights_bytes(self, dtype: EngineDtype) -> int:
        """In memory, over all GPUs together."""
        if self.is_quantised:
            return self.file_bytes
        return bytes_in_memory(self.file_bytes, self.counts, self.served_bits(dtype))

    def cache_bytes(
        self, tokens: int, dtype: EngineDtype, gpus: int = 1, sequences: int = 1, in_flight: int = BATCHED_TOKENS
    ) -> int:
        """On each of so many GPUs, for sequences of so many tokens, of which so many are worked on at once.

        Raises:
            ValueError: there is no config to tell.
        """
        if self.config is None:
            raise ValueError(f"nothing is known of the cache: {self.config_problem}")
        held = 0
        for each in self.config.cache:
            kept = tokens * sequences
            if each.window is not None:
                working = min(tokens, each.window - 1 + in_flight)
                kept = working + min(tokens, each.window) * (sequences - 1)
            held += each.layers * max(each.heads // gpus, 1) * each.numbers * kept
        served_bytes = self.served_bits(dtype) // 8
        states = self.config.states.sequence_bytes(served_bytes) if self.config.states is not None else 0
        return held * served_bytes + states * sequences // gpus

    def can_be_split(self, gpus: int) -> bool:
        """Whether tensor parallelism over so many GPUs is possible.

        Attention heads have to be shared evenly (`verify_with_parallel_config` in vllm/config/model.py), and so have
        the widths of feed-forward layers and, of some, the heads of what looks at images (`divide` in
        vllm/distributed/utils.py). Heads of keys are shared evenly too,
        or each of them is on the same number of GPUs (`LlamaAttention` and its kin). Groups of quantised numbers stay
        whole (specs/engines/model_quantization.py).
        """
        if self.config is None:
            # Not known; what nearly every model has is a power of two of heads.
            return gpus & (gpus - 1) == 0
        kv_heads, states = self.config.kv_heads, self.config.states
        evenly = [self.config.attention_heads, *self.config.intermediate, *self.config.groups]
        if self.config.vision_heads is not None:
            evenly.append(self.config.vision_heads)
        if states is not None:
            evenly += [states.key_heads, states.value_heads]
        return (kv_heads % gpus == 0 or gpus % kv_heads == 0) and all(each % gpus == 0 for each in evenly)
