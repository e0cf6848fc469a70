"""Models of real sizes, and tasks of real numbers of samples.

A model's shape is its config.json's on the Hub as published (attention heads, heads of keys, layers, width, width of
feed-forward layers, context), its bytes those of its safetensors files. How often each size is submitted is assumed:
most of what is submitted is small.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from specs.engines.model_config import read_config
from specs.engines.model_size import ModelSize


@dataclass(frozen=True)
class Family:
    """Models of one shape."""

    name: str
    """Of the repo that has it."""

    share: float
    """Of all models; assumed."""

    gigabytes: float
    shape: tuple[int, int, int, int, int, int]
    """Attention heads, heads of keys, layers, width, width of feed-forward layers, context."""

    @property
    def size(self) -> ModelSize:
        """What the farm would know of it."""
        names = ("num_attention_heads", "num_key_value_heads", "num_hidden_layers", "hidden_size", "intermediate_size")
        config = dict(zip((*names, "max_position_embeddings"), self.shape, strict=True))
        text = json.dumps({**config, "model_type": "llama", "torch_dtype": "bfloat16"}).encode()
        file_bytes = round(self.gigabytes * 1e9)
        return ModelSize(
            file_bytes=file_bytes, counts={"BF16": file_bytes // 2}, config=read_config(text), config_problem=""
        )


FAMILIES = (
    Family("HuggingFaceTB/SmolLM2-135M-Instruct", 0.06, 0.27, (9, 3, 30, 576, 1536, 8192)),
    Family("Qwen/Qwen2.5-0.5B-Instruct", 0.10, 0.99, (14, 2, 24, 896, 4864, 32_768)),
    Family("meta-llama/Llama-3.2-1B-Instruct", 0.12, 2.47, (32, 8, 16, 2048, 8192, 131_072)),
    Family("Qwen/Qwen2.5-1.5B-Instruct", 0.10, 3.09, (12, 2, 28, 1536, 8960, 32_768)),
    Family("meta-llama/Llama-3.2-3B-Instruct", 0.12, 6.43, (24, 8, 28, 3072, 8192, 131_072)),
    Family("Qwen/Qwen2.5-7B-Instruct", 0.18, 15.23, (28, 4, 28, 3584, 18_944, 32_768)),
    Family("meta-llama/Meta-Llama-3-8B", 0.14, 16.06, (32, 8, 32, 4096, 14_336, 8192)),
    Family("Qwen/Qwen2.5-14B-Instruct", 0.07, 29.54, (40, 8, 48, 5120, 13_824, 32_768)),
    Family("Qwen/Qwen2.5-32B-Instruct", 0.05, 65.53, (40, 8, 64, 5120, 27_648, 32_768)),
    Family("meta-llama/Meta-Llama-3-70B", 0.04, 141.11, (64, 8, 80, 8192, 28_672, 8192)),
    Family("Qwen/Qwen2.5-72B-Instruct", 0.015, 145.41, (64, 8, 80, 8192, 29_568, 32_768)),
    Family("meta-llama/Llama-3.1-405B-Instruct", 0.005, 811.7, (128, 8, 126, 16_384, 53_248, 131_072)),
)


@dataclass(frozen=True)
class SimulatedTask:
    """What a benchmark's task costs."""

    name: str
    samples: int
    """Of its test split on the Hub."""

    epochs: int
    max_tokens: int
    """Of an answer, as policy may set it; assumed."""

    share: float
    """Of all results; assumed."""


TASKS = (
    SimulatedTask("openai/gsm8k", 1319, 1, 512, 0.25),
    SimulatedTask("TIGER-Lab/MMLU-Pro", 12_032, 1, 1024, 0.25),
    SimulatedTask("Idavidrein/gpqa (diamond)", 198, 4, 2048, 0.20),
    SimulatedTask("MathArena/aime_2026", 30, 16, 8192, 0.15),
    SimulatedTask("cais/hle", 2500, 1, 2048, 0.10),
    SimulatedTask("lukaemon/bbh (one task)", 250, 1, 512, 0.05),
)
