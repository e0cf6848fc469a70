"""Who judges answers where a spec wants a model as judge."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.contract import Contract


class JudgeEndpoint(Contract):
    """An OpenAI-compatible endpoint that plays the judge that a spec names."""

    base_url: Annotated[str, Field(pattern=r"^https?://")]
    model: str
    """The model's name at that endpoint: a dated one, or scores drift when it is replaced."""

    api_key_env: Annotated[str, Field(pattern=r"^REPROFARM_JUDGE_[A-Z0-9_]+$")] | None = None
    """The worker's environment variable that holds the key. The prefix keeps policy from naming other secrets."""


class JudgeRules(Contract):
    """Who judges where a spec wants a model as judge."""

    allow_self: bool = True
    """A spec that names no judge has the evaluated model judge itself, as Inspect does."""

    endpoints: dict[str, JudgeEndpoint] = Field(default_factory=dict)
    """By the name in the spec, `openai/o3-mini` say. A claim whose judge is not here is blocked."""
