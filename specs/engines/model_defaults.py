"""What a config.json may leave out, because the class that transformers reads it with says the same.

A config within a config, as models with images have one for their language model, is published without whatever is as
in its class: of Gemma 3's neither the length nor, of the smallest, the heads. The engine is given the object of the
class, and knows them. By kind of model (`model_type`), as far as transformers has the class and vLLM 0.32 runs such
models as language models; `tests/e2e/test_model_shapes.py` holds it against those that are installed.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_KEYS = ("max_position_embeddings", "head_dim", "num_key_value_heads", "num_attention_heads")

CLASS_DEFAULTS: Mapping[str, tuple[int, int | None, int | None, int]] = {
    "afmoe": (16384, 128, None, 16),
    "apertus": (65536, None, None, 32),
    "arcee": (4096, None, None, 32),
    "aria_text": (2048, None, None, 32),
    "axk1": (32768, None, 64, 64),
    "cohere": (8192, None, None, 64),
    "cohere2": (8192, None, None, 64),
    "cohere2_moe": (8192, 128, None, 64),
    "cohere_compass_text": (8192, None, None, 64),
    "cosmos3_edge_text": (131072, 128, 8, 16),
    "cwm": (131072, 128, 8, 48),
    "deepseek_v2": (2048, None, None, 32),
    "deepseek_v3": (4096, None, 128, 128),
    "diffusion_gemma_text": (131072, 256, 4, 8),
    "emu3_text_model": (9216, None, 8, 32),
    "ernie4_5": (131072, 128, 2, 16),
    "ernie4_5_moe": (131072, None, 4, 20),
    "ernie4_5_vl_moe_text": (131072, None, 4, 20),
    "exaone4": (2048, None, 32, 32),
    "exaone_moe": (2048, None, 32, 32),
    "falcon": (2048, None, None, 71),
    "falcon_h1": (8192, None, 8, 32),
    "flex_olmo": (4096, None, None, 32),
    "gemma": (8192, 256, 16, 16),
    "gemma2": (8192, 256, 4, 8),
    "gemma3_text": (131072, 256, 4, 8),
    "gemma3n_text": (32768, 256, 2, 8),
    "gemma4_text": (131072, 256, 4, 8),
    "gemma4_unified_text": (262144, 256, 4, 8),
    "glm": (131072, 128, 2, 32),
    "glm4": (131072, 128, 2, 32),
    "glm4_moe": (131072, None, 8, 96),
    "glm4_moe_lite": (202752, None, 20, 20),
    "glm4v_moe_text": (65536, None, 8, 96),
    "glm4v_text": (32768, None, 2, 32),
    "glm5_next_text": (1048576, None, 64, 64),
    "glm_moe_dsa": (202752, 64, 64, 64),
    "glm_ocr_text": (131072, None, 8, 16),
    "gpt_neox": (2048, None, None, 64),
    "gpt_oss": (131072, 64, 8, 64),
    "granite": (2048, None, None, 32),
    "granite_swa": (8192, None, 4, 20),
    "granitemoe": (2048, None, None, 32),
    "granitemoe_swa": (2048, None, None, 32),
    "granitemoehybrid": (2048, None, None, 32),
    "granitemoeshared": (2048, None, None, 32),
    "hrm_text": (2048, 128, None, 12),
    "hunyuan_v1_dense": (2048, None, None, 32),
    "hunyuan_v1_moe": (2048, None, None, 32),
    "hunyuan_vl_text": (2048, None, None, 32),
    "hy_v3": (131072, 128, 8, 64),
    "inkling_text": (131072, 128, 8, 64),
    "jais2": (8192, None, None, 26),
    "jamba": (262144, None, 8, 32),
    "laguna": (131072, 128, 8, 48),
    "lfm2": (128000, None, 8, 32),
    "lfm2_moe": (128000, None, 8, 32),
    "llama": (2048, None, None, 32),
    "llama4_text": (131072, 128, 8, 40),
    "longcat_flash": (131072, 64, None, 64),
    "mellum": (131072, 128, 4, 32),
    "mimo_v2_flash": (131072, 192, 4, 64),
    "minicpm3": (32768, None, 40, 40),
    "minimax_m2": (196608, 128, 8, 48),
    "ministral3": (262144, 128, 8, 32),
    "mistral": (131072, None, 8, 32),
    "mixtral": (131072, None, 8, 32),
    "nemotron": (4096, None, None, 48),
    "nemotron_h": (4096, 128, 8, 32),
    "olmo": (2048, None, None, 32),
    "olmo2": (2048, None, None, 32),
    "olmo3": (2048, None, None, 32),
    "olmo_hybrid": (65536, None, None, 30),
    "olmoe": (4096, None, None, 16),
    "opt": (2048, None, None, 12),
    "paddleocr_vl_text": (131072, 128, 2, 16),
    "phi": (2048, None, None, 32),
    "phi3": (4096, None, None, 32),
    "qwen2": (32768, None, 32, 32),
    "qwen2_5_vl_text": (32768, None, 8, 64),
    "qwen2_moe": (32768, None, 16, 16),
    "qwen2_vl_text": (32768, None, 8, 64),
    "qwen3": (32768, 128, 32, 32),
    "qwen3_5_moe_text": (32768, 256, 2, 16),
    "qwen3_5_text": (32768, 256, 4, 16),
    "qwen3_moe": (32768, None, 4, 32),
    "qwen3_next": (32768, 256, 2, 16),
    "qwen3_vl_moe_text": (128000, None, 16, 16),
    "qwen3_vl_text": (128000, 128, 32, 32),
    "qwen4_exp_text": (32768, 256, 2, 16),
    "seed_oss": (524288, 128, 8, 80),
    "smollm3": (32768, None, 4, 16),
    "stablelm": (4096, None, 32, 32),
    "starcoder2": (4096, None, 2, 24),
    "vaultgemma": (8192, 256, 4, 8),
    "zamba2": (4096, None, None, 32),
}
"""For each of `DEFAULT_KEYS`; None where the class has none, or works it out from other keys."""


def defaults_of(model_type: object) -> dict[str, int]:
    """What a config of this kind means where it has no such key; nothing of a kind that is not known."""
    found = CLASS_DEFAULTS.get(model_type, ()) if isinstance(model_type, str) else ()
    return {key: value for key, value in zip(DEFAULT_KEYS, found, strict=False) if value is not None}
