"""What in a config.json has the engine load other weights than the repo's own: the score would be another model's.

vLLM (0.32) obeys these without being told to trust anything. An engine is offline, and finds nothing by its name on the
Hub; it does find another model's snapshot by its path, which anyone can work out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

FOLLOWED: Mapping[str, str] = {
    # `maybe_override_with_speculators` in vllm/transformers_utils/config.py: model and tokenizer become the verifier's.
    "speculators_config": (
        "an engine would load the model that it names, and this repo only to guess ahead for it: claim the score in"
        " that model's repo, or take the entry out"
    ),
    # vllm/transformers_utils/configs/ultravox.py and vllm/model_executor/models/ultravox.py.
    "text_model_id": "an engine would load weights from there: publish whole weights in the repo, and set it to null",
    "audio_model_id": "an engine would load weights from there: publish whole weights in the repo, and set it to null",
}


def leads_elsewhere(config_text: bytes) -> str | None:
    """Why a config.json is not one to start an engine with, for its author; None where it is, or is no JSON."""
    try:
        config = json.loads(config_text)
    except (ValueError, RecursionError):
        return None
    named = next((key for key, value in entries(config) if key in FOLLOWED and value is not None), None)
    return f"config.json has {named}: {FOLLOWED[named]}" if named is not None else None


def entries(value: object) -> Iterator[tuple[str, object]]:
    """Every key and value in what was JSON, at whatever depth; what stands in a list has the list's key."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        key, found = waiting.pop()
        yield key, found
        if isinstance(found, dict):
            waiting.extend(found.items())
        elif isinstance(found, list):
            waiting.extend((key, each) for each in found)
