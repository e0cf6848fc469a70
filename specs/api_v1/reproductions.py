"""What the API says, version 1, of runs. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from specs.api_v1.views import View
from specs.judging.verdict import Interval
from specs.measurement import Circumstances, Proportion

ReproductionStateName = Literal["queued", "dispatched", "running", "completed", "failed", "cancelled"]


class ReproductionSummary(View):
    """A run of one spec for one model, and how far it is."""

    id: str
    state: ReproductionStateName
    reason: str
    """Why it is in this state."""

    since: datetime
    """When it came into this state."""

    created_at: datetime
    model: str
    model_revision: str
    dataset: str
    dataset_revision: str
    task: str | None
    """Null where the benchmark's only task has no id."""

    spec_sha256: str
    """Of eval.yaml at that dataset revision."""

    seed: int | None
    """Orders the samples and shuffles choices. Null until it is first sent to a worker: nobody can choose a claim that
    the first samples favour."""

    pool: str
    queue_position: int | None
    """1 goes next in its pool; null where it does not wait."""

    waits_for: str | None = None
    """What it waits for, in words, and what stands in its way, such as a pool without workers; null if it does not
    wait."""

    not_before: datetime | None
    """After a failed attempt, the next one waits until then."""

    attempt: int
    """Number of the current attempt; 0 before the first."""

    worker: str | None
    """Who runs it; null where nobody does."""

    stage: str | None
    """What the worker does for the current attempt: waiting, fetching, starting_engine, running or storing."""

    samples_done: int
    samples_total: int | None
    """Null until the dataset is read."""

    score: Proportion | None
    """Mean so far, as the worker last said; null before the first score."""

    score_interval: Interval | None = None
    """Where `score` would come to lie in 95 of 100 cases with more of the same samples: Wilson's interval, wider than
    necessary if samples have scores between 0 and 1. The samples answered first tend to be the easier ones; the
    verdict's interval is a different one. Null before the first score."""

    evidence_sha256: str | None
    evidence_url: str | None
    """The Inspect log of the run; null until it is complete."""


class AttemptView(View):
    """One try at a reproduction."""

    number: int
    worker: str | None
    dispatched_at: datetime
    started_at: datetime | None
    """First word from a worker."""

    alive_at: datetime | None
    """Last word from it."""

    stage: str | None
    samples_done: int
    samples_total: int | None
    score: Proportion | None
    ended_at: datetime | None
    outcome: str | None
    """An attempt outcome, `completed` or `engine_failed` say; null while it goes on."""

    detail: str | None
    """What happened, with the engine's last words where it failed."""


class MeasurementView(View):
    """What a completed run measured. The score of each sample is in the evidence."""

    scorer: str
    score: Proportion | None
    """Null where no sample could be scored."""

    standard_error: float | None
    """Null for fewer than two samples, which have none."""

    samples_used: int
    """Samples with a score, in the whole run. What decided a claim may be fewer: its comparison's `samples_used`."""

    population: int
    """Samples that the task has."""

    failed: int
    """Samples that were run and have no score."""

    truncated: int
    unparsed: int
    ignored: int
    """Samples that were in flight when the run stopped by itself: in the evidence, and counted nowhere."""

    other_scorers: dict[str, Proportion | None]
    input_tokens: int
    output_tokens: int
    started_at: datetime
    ended_at: datetime
    circumstances: Circumstances


class ReproductionView(ReproductionSummary):
    """A reproduction with its attempts and, once completed, what it measured."""

    attempts: tuple[AttemptView, ...]
    """Oldest first."""

    measurement: MeasurementView | None
    repeat_command: str | None = None
    """What repeats the run elsewhere, on every sample, with Inspect's own command line; an option a line. Null where
    nothing was measured, and where `not_repeatable` says why there is none."""

    not_repeatable: str | None = None
    """Why Inspect's own command line cannot repeat the run: it refuses other tasks of the eval.yaml. Null where it can,
    and where nothing was measured."""

    claims: tuple[str, ...]
    """Ids of the claims that it judges."""
