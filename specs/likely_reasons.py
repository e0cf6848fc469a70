"""Why a score may not have been reproduced, from what the run saw: the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator

from specs.measurement import Circumstances
from specs.verdict import Comparison

NOTEWORTHY = 0.02
"""Part of the answers from which on something that befell them is worth a sentence."""


def likely_reasons(
    found: Comparison, ran: Circumstances | None, *, dataset_pinned: bool, value: float | None
) -> tuple[str, ...]:
    """Sentences for the author of a claim that did not match. Nothing here says whose fault it is.

    `ran` is None where it is not known; `value` is the claim as written.
    """
    return tuple(_of_answers(found)) + tuple(_of_settings(found, ran, dataset_pinned=dataset_pinned, value=value))


def _of_answers(found: Comparison) -> Iterator[str]:
    attempted = found.samples_used + found.failed
    if attempted and found.truncated / attempted >= NOTEWORTHY:
        yield (
            f"{found.truncated} of {attempted} answers were cut off at the token limit and scored as they stood; the"
            " claim may come from a run with a larger limit."
        )
    if attempted and found.unparsed / attempted >= NOTEWORTHY:
        yield (
            f"In {found.unparsed} of {attempted} answers the scorer found none of the form that it looks for; the claim"
            " may come from another prompt or another scorer."
        )


def _of_settings(
    found: Comparison, ran: Circumstances | None, *, dataset_pinned: bool, value: float | None
) -> Iterator[str]:
    scaled = found.reproduced is not None and value is not None and 0 < value <= 1
    if scaled and found.reproduced is not None and abs(found.reproduced - 100 * found.claimed) <= found.tolerance:
        yield "The claim is a hundredth of what was reproduced: a fraction where the benchmark is scored in percent."
    if ran is not None and ran.chat_template_sha256 is None:
        yield "The model has no chat template, so its prompts went in without one."
    if ran is not None:
        sources = ran.generation.sources
        own = sources.get("temperature") in ("generation_config", "spec")
        how = "as its generation config says" if own else "by this farm's policy"
        kind = "greedily" if ran.generation.temperature == 0 else f"at temperature {ran.generation.temperature:g}"
        yield f"Answers were sampled {kind}, {how}; other sampling settings give other scores."
    if not dataset_pinned:
        yield (
            "The claim names no revision of the benchmark, so it was run at the one that was current; the claim may be"
            " of an older one."
        )
