"""Models that use some of their weights for each token: mixtures of experts.

All experts are in memory, so where a model fits has nothing to do with this. How fast it answers has: a step of
decoding reads the weights that its tokens use. Here are only shapes from a config.json, counted as the sources of
transformers build the layers: an expert is three matrices, gate, up and down (`MixtralSparseMoeBlock` and its kin).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from specs.contract import Contract
from specs.engines.config_values import side

MAX_EXPERTS = 100_000

_CHOSEN = "num_experts_per_tok"
# By architecture, the keys of how many experts a layer has and how wide each is. vLLM builds these from just those
# keys, so that what a config says of them has to be true of the weights; in others the same keys may mean nothing.
_KEYS: Mapping[str, tuple[str, str]] = {
    "MixtralForCausalLM": ("num_local_experts", "intermediate_size"),
    "GptOssForCausalLM": ("num_local_experts", "intermediate_size"),
    "MiniMaxM2ForCausalLM": ("num_local_experts", "intermediate_size"),
    "OlmoeForCausalLM": ("num_experts", "intermediate_size"),
    "Qwen2MoeForCausalLM": ("num_experts", "moe_intermediate_size"),
    "Qwen3MoeForCausalLM": ("num_experts", "moe_intermediate_size"),
    "DeepseekV2ForCausalLM": ("n_routed_experts", "moe_intermediate_size"),
    "DeepseekV3ForCausalLM": ("n_routed_experts", "moe_intermediate_size"),
    "Glm4MoeForCausalLM": ("n_routed_experts", "moe_intermediate_size"),
}


class Experts(Contract):
    """The experts of a model, of which each token is sent to some."""

    count: Annotated[int, Field(gt=0)]
    """In each layer that has them."""

    chosen: Annotated[int, Field(gt=0)]
    """Of those, for one token."""

    parameters: Annotated[int, Field(gt=0)]
    """Of all experts in all layers: of its weights in plain numbers, that share is not used for every token."""

    other_parameters: Annotated[int, Field(gt=0)]
    """Of everything else, as far as the config says: a lower bound."""

    def part_read(self, tokens: int) -> float:
        """The part of all weights that a step of so many tokens reads, if they were sent to experts at random.

        An expert is left out by one token with probability 1 - chosen/count, and so by all with that to the power of
        their number. Real routers are less even than chance and read somewhat less.
        """
        read = 1 - (1 - self.chosen / self.count) ** tokens
        return (self.other_parameters + self.parameters * read) / (self.other_parameters + self.parameters)


def read_experts(config: Mapping[str, Any], layers: int, hidden: int) -> Experts | None:
    """The experts in a config; None where there are none, or it says too little or nothing sensible of them.

    None too of an architecture that is not known here: taken to use all of its weights it is taken for dearer than it
    is, and nobody gets past a budget by keys that nothing reads.
    """
    architectures = config.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(name, str) or name not in _KEYS:
        return None
    how_many, how_wide = _KEYS[name]
    count, chosen = side(config, how_many, most=MAX_EXPERTS), side(config, _CHOSEN, most=MAX_EXPERTS)
    width, vocabulary = side(config, how_wide), side(config, "vocab_size")
    heads = side(config, "num_attention_heads")
    if count < 2 or not 0 < chosen <= count or not width or not vocabulary or not heads:
        return None
    dense = min(side(config, "first_k_dense_replace"), layers - 1)
    shared = side(config, "n_shared_experts", "num_shared_experts")
    an_expert = 3 * hidden * width
    others = (
        vocabulary * hidden * (1 if config.get("tie_word_embeddings") is True else 2)
        + layers * _attention(config, hidden, heads)
        + dense * 3 * hidden * side(config, "intermediate_size")
        + (layers - dense) * (shared * an_expert + hidden * count)
    )
    return Experts(count=count, chosen=chosen, parameters=(layers - dense) * count * an_expert, other_parameters=others)


def _attention(config: Mapping[str, Any], hidden: int, heads: int) -> int:
    """Parameters of one layer's projections."""
    latent = side(config, "kv_lora_rank")
    if latent:
        # DeepSeek-V2 (2024), section 2.1: queries and keys with values go through low-rank latent vectors.
        rope, nope, value = (side(config, key) for key in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
        rank = side(config, "q_lora_rank")
        queries = rank * (hidden + heads * (nope + rope)) if rank else hidden * heads * (nope + rope)
        return queries + hidden * (latent + rope) + latent * heads * (nope + value) + heads * value * hidden
    width = side(config, "head_dim") or hidden // heads
    kv_heads = side(config, "num_key_value_heads") or heads
    return 2 * hidden * width * (heads + kv_heads)
