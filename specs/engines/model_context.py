"""How many tokens of prompt and answer a model takes, as vLLM 0.32 reads its config.json.

`_get_and_verify_max_len` in vllm/config/model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specs.engines.config_values import MAX_CONTEXT_TOKENS, ModelConfigError, name, number

DEFAULT_CONTEXT_TOKENS = 2048
"""What vLLM takes where neither a config nor its class names a length, and nobody asks for another."""

_CONTEXT_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
_LEAST_TOKENS: Mapping[str, int] = {"llama4_text": 32_769}
# Kinds of rope scaling whose max_position_embeddings is scaled already.
_SCALED_ALREADY = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default", "mrope")


def longest_tokens(config: Mapping[str, Any]) -> int:
    """Tokens that vLLM serves at most."""
    tokens = min(named_lengths(config), default=DEFAULT_CONTEXT_TOKENS)
    # Command-R's own goes before all others.
    tokens = number(config, ("model_max_length",), MAX_CONTEXT_TOKENS, tokens)
    rope = _rope(config)
    factor = rope.get("factor")
    if "gemma3" in (name(config, "model_type") or "") or _rope_kind(rope) in _SCALED_ALREADY or factor is None:
        return tokens
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= MAX_CONTEXT_TOKENS / tokens:
        raise ModelConfigError("config.json: the factor of its rope scaling is no sensible number")
    return max(int(tokens * factor), 1)


def least_tokens(model_type: str | None) -> int:
    """Tokens below which vLLM computes otherwise, and does not merely cut off what is longer.

    Of Llama 4 it turns up attention by position (`attn_temperature_tuning` in vllm/model_executor/models/llama4.py) in
    contexts above 32,768 tokens alone.
    """
    return _LEAST_TOKENS.get(model_type or "", 1)


def named_lengths(config: Mapping[str, Any]) -> list[int]:
    """All that it names, in tokens, before any scaling; mostly one."""
    return [number(config, (key,), MAX_CONTEXT_TOKENS) for key in _CONTEXT_KEYS if config.get(key) is not None]


def context_tokens(config: Mapping[str, Any], longest: int) -> int:
    """Tokens that are served where nobody asks for another number."""
    if _rope_kind(_rope(config)) != "longrope":
        return longest
    # What is longer is answered otherwise, and so has to be asked for.
    return number(config, ("original_max_position_embeddings",), MAX_CONTEXT_TOKENS, longest)


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("rope_parameters") or config.get("rope_scaling")
    return found if isinstance(found, dict) else {}


def _rope_kind(rope: Mapping[str, Any]) -> object:
    return rope.get("rope_type") or rope.get("type")
