"""Sizes of well-known models: their configurations, and what the Hub counts in their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from specs.engines.model_config import ModelConfig, read_config
from specs.engines.model_size import ModelSize

CONFIGS = Path(__file__).parent / "model_configs"
GB = 10**9

# Bytes of the files at the top level of the repo, and numbers in them by dtype.
HOLDINGS: Mapping[str, tuple[int, dict[str, int]]] = {
    "SmolLM2-135M-Instruct": (269_060_552, {"BF16": 134_515_008}),
    "Meta-Llama-3-8B": (16_060_556_376, {"BF16": 8_030_261_248}),
    "Meta-Llama-3-70B": (141_107_497_872, {"BF16": 70_553_706_496}),
    "Llama-4-Scout-17B-16E-Instruct": (217_284_000_000, {"BF16": 108_641_793_536}),
    "gemma-2-9b": (36_966_905_160, {"F32": 9_241_705_984}),
    "gemma-3-27b-it": (54_864_875_000, {"BF16": 27_432_406_640}),
    "gemma-4-31B-it": (62_546_000_000, {"BF16": 31_273_000_000}),
    "Mixtral-8x7B-v0.1": (93_405_709_320, {"BF16": 46_702_792_704}),
    "Qwen2.5-72B-Instruct-AWQ": (41_600_000_000, {"I32": 8_877_000_000, "F16": 3_040_000_000}),
    "Phi-3.5-mini-instruct": (7_642_181_896, {"BF16": 3_821_079_552}),
    "Qwen3-235B-A22B-Instruct-2507-FP8": (236_400_000_000, {"BF16": 1_300_000_000, "F8_E4M3": 233_800_000_000}),
    "Qwen3-Next-80B-A3B-Instruct": (162_700_000_000, {"BF16": 81_320_000_000}),
    "gpt-oss-120b": (65_248_893_184, {"BF16": 2_167_371_072, "U8": 118_244_966_400}),
    "DeepSeek-V3": (688_586_727_753, {"BF16": 3_918_786_560, "F8_E4M3": 680_571_043_840, "F32": 41_555_600}),
}


def config_of(name: str) -> ModelConfig:
    """What is read of a model's config.json."""
    return read_config((CONFIGS / f"{name}.json").read_bytes())


def size_of(name: str) -> ModelSize:
    """What the farm would know of a model's size."""
    file_bytes, counts = HOLDINGS[name]
    return ModelSize(file_bytes=file_bytes, counts=counts, config=config_of(name), config_problem="")
