"""What a reproduction runs with, fixed before it runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.contract import Contract
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from specs.policy.judges import JudgeEndpoint
from specs.policy.verification import Mode


class RunSettings(Contract):
    """What decides a reproduction besides the model and the spec."""

    engine: EngineRules
    gpus: int = Field(ge=0)
    """That the model is split over; 0 on a CPU pool."""

    held_gpus: Annotated[int, Field(ge=0)] | None = None
    """Of the worker, for as long as it runs: all of its pool's. None in what was planned when that was the same."""

    generation: GenerationSettings
    epochs: int | None
    sample_limit: int | None
    mode: Mode
    alpha: float
    minimum_samples: int
    maximum_failed_fraction: float
    history: bool
    """Whether earlier runs may predict answers."""

    allow_self_judge: bool
    judges: dict[str, JudgeEndpoint]
