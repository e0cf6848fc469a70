"""What the API says, version 1, of what a claim will cost. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from typing import Literal

from specs.api_v1.views import View
from specs.judging.verdict import Outcome
from specs.measurement import Proportion
from specs.policy.verification import Mode

SamplesSource = Literal["measured", "dataset card", "given"]


class PlanCase(View):
    """What a claim's reproduction is expected to take and to come to, if the claim is off by so much."""

    off_by: float
    """The claim less what all samples would give, a proportion."""

    true_score: Proportion
    """What all samples would give."""

    samples: float
    """Mean number that it takes until the claim has its answer."""

    part: Proportion
    """Of all samples."""

    verified: Proportion
    """Part of such runs that end so; the same for the next two."""

    mismatch: Proportion
    undecided: Proportion
    """The difference may be chance, or the run reached its limit."""

    verdict: Outcome
    """The likeliest."""


class ClaimPlan(View):
    """What judging a claim will cost and come to, said before a GPU is used.

    For right or wrong answers and without predictions: scores in between, and predictions, make it cost less. A run
    that answers several claims goes on until the last of them has its answer.
    """

    claim_id: str
    model: str
    dataset: str
    dataset_revision: str
    task: str | None
    claimed: Proportion
    samples: int | None
    """How many the task has; null where nobody knows before the run."""

    samples_source: SamplesSource | None
    """Who says so: a completed reproduction, the dataset's card, or whoever asked."""

    mode: Mode
    alpha: float
    minimum_samples: int
    sample_limit: int | None
    """The run takes so many at most; null where it may take all."""

    epochs: int
    every_sample: bool
    """Whether the run asks every sample whatever it finds: policy says so, or such a run of the model on the benchmark
    was sent before."""

    tolerance: float | None
    """The widest difference that counts as reproduced; null where it depends on a number of samples nobody knows."""

    noise: float | None
    """By how much an honest claim and an honest full run differ by chance, in 99 of 100 at most; null like
    `tolerance`."""

    doubtful_beyond: float | None
    """A difference beyond the tolerance and up to this may be that of an honest claim, by chance and by how it was
    rounded, and decides nothing. Null where the tolerance covers that, or the number of samples is not known."""

    cases: tuple[PlanCase, ...]
    """By how far the claim is off: 0, 2, 5, 10 and 20 points, less those whose true score would be below 0. Empty where
    the number of samples is not known."""

    gpu_seconds: float | None
    """Estimated cost of a run for this claim alone, used for the farm's budget only: GPU-seconds, or on a CPU pool
    seconds of one worker. Null if it is not known in which pool it would run."""

    gpu_seconds_basis: str | None
    """What that rests on, as of when the claim was planned: earlier runs or assumptions. Null like it."""

    linked_log: bool
    """Whether the log that the claim links to predicts answers."""

    earlier_runs: int
    """How many other runs can predict answers by now, not counting the claim's own."""

    words: tuple[str, ...]
    """What somebody should know before the run."""
