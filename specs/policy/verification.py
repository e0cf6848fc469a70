"""How claims are judged: the operator's rules for every benchmark, for one, and for one of its tasks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specs.contract import Contract
from specs.epochs import MAX_EPOCHS
from specs.policy.generation import GenerationSettings
from specs.validation_errors import must_be

Scale = Literal["fraction", "percent"]
"""How a benchmark's claims write their scores: 0.412 or 41.2."""

Mode = Literal["full", "sequential"]
"""`full` runs every sample; `sequential` stops as soon as the answer is sure."""

Tolerance = Annotated[
    Annotated[float, Field(gt=0, lt=1)] | Literal["measured"],
    must_be("a proportion between 0 and 1, such as 0.02 for 2 percentage points, or 'measured'"),
]


class TaskRules(Contract):
    """Rules that a benchmark or one of its tasks may set; None leaves the choice to the wider rule."""

    scale: Scale | None = None
    """How claims on this benchmark write their scores; None decides from its leaderboard."""

    tolerance: Tolerance | None = None
    """Absolute, as a proportion; None is max(0.01, 1.96·√(c(1−c)/N)), where c is 3/N from 0 and 1 at least. `measured`
    is what honest re-runs were seen to differ by (the noise ledger), and the same as None until enough were seen."""

    mode: Mode | None = None
    """Run every sample, or stop as soon as the answer is sure."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """The chance, for each claim, that a verdict from some of the samples differs from the verdict of all of them."""

    minimum_samples: Annotated[int, Field(ge=2)] | None = None
    """Fewer scored samples than this, and fewer than there are, decide nothing."""

    history: bool | None = None
    """Let earlier reproductions on the same task predict answers: saves samples, changes no verdict."""

    linked_logs: bool | None = None
    """Read the Inspect log on the Hub that a claim names as its source, and let it predict answers."""

    sample_limit: Annotated[int, Field(gt=0)] | None = None
    """Run so many samples at most, drawn at random; None runs all."""

    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] | None = None
    """Used instead of the spec's own number if the score keeps its meaning: the mean, or `pass_at_K` of K epochs or
    more. Claims on other benchmarks are blocked. How many were run is in the evidence, and in the run's circumstances.
    """

    prompt_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens to make room for in a prompt where memory is short: `scheduler.admission.placement`."""

    generation: GenerationSettings = GenerationSettings()


class BenchmarkRules(TaskRules):
    """Rules for a benchmark; `tasks` for some of its tasks."""

    tasks: dict[str, TaskRules] = Field(default_factory=dict)


class VerificationRules(TaskRules):
    """Rules for every benchmark that does not say otherwise."""

    mode: Mode = "sequential"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    minimum_samples: Annotated[int, Field(ge=2)] = 20
    history: bool = True
    linked_logs: bool = True
    prompt_tokens: Annotated[int, Field(gt=0)] = 8192
    maximum_failed_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """If more than this part of the answers has no score (errors, not wrong answers), the verdict is inconclusive. If
    more than this part of the samples has such answers, nothing is decided that those samples could change."""
