"""What in a run may explain that it did not reproduce a score, the likeliest first.

Guesses, and called so: each names what the run saw and what its reader could change. They decide nothing. Numbers and
commits alone come from the run, so nothing from outside stands in the sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from specs.judging.verdict import Comparison
from specs.measurement import Measurement
from specs.policy.generation import EffectiveGeneration, SamplingSource
from specs.policy.verification import Scale

NOTABLE_SHARE = 0.02
"""Of the answers: fewer that were cut off or not understood are no reason worth a line."""

SAME_RATIO = 0.1
"""How far from 100 the ratio of two scores may be, relatively, to look like percent against fraction."""

SOURCES: dict[SamplingSource, str] = {
    "spec": "the benchmark's eval.yaml",
    "policy": "the farm's policy",
    "generation_config": "the model's generation_config.json",
    "vllm_default": "vLLM's default",
}


@dataclass(frozen=True)
class Claimed:
    """What of a claim, and of how it was run, may explain a mismatch."""

    scale: Scale
    """How its value was read."""

    pinned: bool
    """Whether it pins a revision of the benchmark."""

    dataset_revision: str
    """At which the benchmark was run."""

    held_context: int | None = None
    """Tokens of the engine's context, where the farm gave it fewer than the model has."""

    names_a_setup: bool = False
    """Whether its notes say how it was scored."""


def likely_reasons(found: Comparison, measured: Measurement, claim: Claimed) -> tuple[str, ...]:
    """Sentences, the likeliest reason first; none where nothing stands out."""
    if found.reproduced is None:
        return ()
    weighed = [
        *_other_scale(found.claimed, found.reproduced, claim.scale),
        *_lost_answers(found, found.reproduced, measured, claim.held_context),
        *_prompting(measured),
        *_sampling(measured.circumstances.generation),
        *_other_samples(found, measured, claim),
    ]
    # Stable: of two that weigh the same, the first said stays first.
    return tuple(text for _, text in sorted(weighed, key=lambda each: -each[0]))


Weighed = Iterator[tuple[float, str]]


def _other_scale(claimed: float, reproduced: float, scale: Scale) -> Weighed:
    if claimed <= 0 or reproduced <= 0:
        return
    for factor, written, other in ((100.0, "a fraction", "a percentage"), (0.01, "a percentage", "a fraction")):
        if abs(reproduced / (claimed * factor) - 1) <= SAME_RATIO:
            yield (
                100,
                f"percent against fraction: the value looks like {written}, and claims on this benchmark are read as a"
                f" {scale}; written as {other} it would be close to what was reproduced",
            )


def _lost_answers(found: Comparison, reproduced: float, measured: Measurement, held_context: int | None) -> Weighed:
    """Answers that count as wrong because of how they ended or look; no reason for a score that came out higher."""
    gap = found.claimed - reproduced
    # What was in flight when the run stopped is among neither count.
    answers = len(measured.sample_ids) * measured.circumstances.epochs
    if gap <= 0 or answers == 0:
        return
    generation = measured.circumstances.generation
    if generation.max_tokens is not None:
        limit = f"at max_tokens {generation.max_tokens}, from {_source(generation, 'max_tokens')}"
    elif held_context is not None:
        limit = f"at the {held_context} tokens of context that the farm gave the model"
    else:
        limit = "at the end of the model's context"
    for count, what in (
        (measured.truncated, f"were cut off {limit}; with more tokens they may come to their end"),
        (
            measured.unparsed,
            "held none of the form that the scorer looks for; the model may need another prompt format",
        ),
    ):
        share = count / answers
        if share >= NOTABLE_SHARE:
            # As far as they could close the gap, had they all been right.
            yield 60 + 30 * min(1.0, share / gap), f"{count} of {answers} answers ({100 * share:.0f} %) {what}"


def _prompting(measured: Measurement) -> Weighed:
    if measured.circumstances.chat_template_sha256 is None:
        yield 55, "the model's repo has no chat template, so the engine used one of its own; chat models need theirs"


def _sampling(generation: EffectiveGeneration) -> Weighed:
    source = generation.sources.get("temperature", "vllm_default")
    if generation.temperature > 0 and source != "spec":
        yield (
            45 if source == "vllm_default" else 40,
            f"sampling: temperature {generation.temperature:g} and top_p {generation.top_p:g}, by {SOURCES[source]};"
            " a score from greedy decoding, or from other settings, can differ",
        )
    elif source == "policy":
        yield (
            25,
            f"sampling: temperature {generation.temperature:g}, by the farm's policy, whatever the model's own settings"
            " are",
        )
    if generation.repetition_penalty != 1 and generation.sources.get("repetition_penalty") != "spec":
        yield (
            35,
            f"a repetition penalty of {generation.repetition_penalty:g}, from"
            f" {_source(generation, 'repetition_penalty')}, changes long answers",
        )


def _other_samples(found: Comparison, measured: Measurement, claim: Claimed) -> Weighed:
    if found.linked_log is not None and found.linked_log.suspicious:
        yield (
            50,
            "the log that the claim links to is hardly that of this model: its answers are far from those of the run",
        )
    if not claim.pinned:
        yield (
            20,
            f"another dataset revision: the claim pins none, and the run used {claim.dataset_revision[:12]}; a score"
            " on an older one may differ",
        )
    if claim.names_a_setup:
        yield 42, "another setup: the claim's notes say how it was scored; the run went by the benchmark's eval.yaml"
    if measured.failed:
        yield 15, f"{measured.failed} of {len(measured.sample_ids)} samples failed and have no score"


def _source(generation: EffectiveGeneration, name: str) -> str:
    return SOURCES[generation.sources.get(name, "vllm_default")]
