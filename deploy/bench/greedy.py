"""Greedy decoding, as the settings of runs that never took place."""

from __future__ import annotations

from specs.policy.generation import EffectiveGeneration

GREEDY = EffectiveGeneration(
    temperature=0.0,
    top_p=1.0,
    top_k=-1,
    min_p=0.0,
    repetition_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    max_tokens=None,
    seed=0,
    sources={"temperature": "policy"},
)
