"""What is known of a claim, of the benchmark that it names and of its model when it is decided whether it is run."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.admission.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY
from specs.engines.model_size import ModelSize
from specs.hub.dataset_card import Sizes
from specs.hub.eval_yaml import Spec
from specs.judging.noise import MeasuredNoise


@dataclass(frozen=True)
class ClaimFacts:
    """What a claim says."""

    model_id: str
    dataset_id: str
    task_id: str | None
    value: float
    community: bool
    with_tools: bool = False
    """By its notes."""

    asked_priority: int | None = None
    """Of a re-verification; None is by who submitted the claim."""

    @property
    def priority(self) -> int:
        """Lower goes first."""
        if self.asked_priority is not None:
            return self.asked_priority
        return COMMUNITY_PRIORITY if self.community else AUTHOR_PRIORITY


@dataclass(frozen=True)
class BenchmarkFacts:
    """What is known of the benchmark that a claim names, at the revision it names."""

    watched: bool
    revision: str | None
    """None where it is not watched, was not read yet, or is `unlisted`."""

    spec: Spec | None
    """None where the dataset has no eval.yaml there."""

    gated: bool
    has_percent: bool
    noise: MeasuredNoise | None = None
    """What the noise ledger says of two honest full runs; None where it holds too little."""

    sizes: Sizes = field(default_factory=dict)
    """What the dataset's card says at that revision; empty where it says nothing or was not read."""

    watched_as: str | None = None
    """The id by which it is watched, where that is another one; None where it is not."""

    unlisted: bool = False
    """Whether it was watched until a short while ago, and may come back."""

    missing: str | None = None
    """Why the revision is none of the benchmark's; None where it is."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of the model."""

    weights_sha256: str
    size: ModelSize | None
    """None where it has no weights that could be loaded."""

    gated: bool
