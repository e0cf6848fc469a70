"""What is fixed before a reproduction runs: what it runs with, and how each of its claims will be judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specs.model import Contract
from specs.policy.engine import EngineRules
from specs.policy.generation import GenerationSettings
from specs.policy.judges import JudgeEndpoint
from specs.policy.verification import Mode, Scale


class Rules(Contract):
    """How a claim will be judged, fixed before its reproduction runs."""

    scale: Scale
    scale_source: Literal["policy", "leaderboard"]
    claimed: float
    """The claimed value as a proportion."""

    tolerance: float | None
    """Absolute, as a proportion; None is what `tolerance_for` (specs/judging/stopping.py) has for the samples."""

    tolerance_source: Literal["policy", "measured", "chance"]
    spread: float | None
    """Standard deviation of the difference between two honest full runs, as measured; None where it is not known."""

    spread_source: str | None = None
    """What that was measured on, in words."""

    policy_sha256: str


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
