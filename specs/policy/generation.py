"""Sampling settings: what decides a model's answers besides its weights and its prompt.

An eval.yaml seldom carries them (an argument of its solvers can), so they come from policy, else from the model's
`generation_config.json`, else from vLLM's defaults. They are resolved before a run, sent with every request and
recorded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specs.contract import Contract

SamplingSource = Literal["spec", "policy", "generation_config", "vllm_default"]


NEARLY_GREEDY = 0.05
"""A temperature at which a token that is a tenth as likely is taken once in 10²⁰."""


def greedy_by(temperature: float | None, top_k: int | None) -> frozenset[str]:
    """The names of those two settings by which the likeliest token is always taken, or next to always.

    None says nothing, as in `GenerationSettings`.
    """
    greedy = {"temperature": temperature is not None and temperature <= NEARLY_GREEDY, "top_k": top_k == 1}
    return frozenset(name for name, is_so in greedy.items() if is_so)


class GenerationSettings(Contract):
    """Sampling settings that policy fixes; None leaves the choice to the model's own generation config."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0 is greedy decoding."""

    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    """-1 or 0 considers every token."""

    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens of one answer; None is what is left of the model's context, as vLLM has it."""


class EffectiveGeneration(Contract):
    """The sampling settings that a run really used for the answers that it scored."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    max_tokens: int | None
    seed: int
    """Of the first sample's first epoch, so that sampling at a temperature above 0 repeats. Each answer has one of its
    own: with the next epoch, and the next sample in the dataset's order, it is one more. The spec's is that of all."""

    sources: dict[str, SamplingSource]
    """Where each setting came from, by its name."""

    @property
    def epochs_repeat(self) -> bool:
        """Whether one epoch samples what the others do: the spec gives all one seed, or there is nothing to sample.

        A run asks each epoch the same, in one order of the choices; what is left between them is arithmetic.
        """
        return self.sources.get("seed") == "spec" or bool(greedy_by(self.temperature, self.top_k))
