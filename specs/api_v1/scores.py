"""What the API says, version 1, of models and benchmarks. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime

from specs.api_v1.claims import ClaimStateName
from specs.api_v1.views import View
from specs.judging.verdict import Interval, Outcome
from specs.measurement import Proportion


class BenchmarkView(View):
    """A benchmark that is watched."""

    id: str
    revision: str | None
    gated: bool
    seen_at: datetime
    claims: int
    """Claims that were found and not withdrawn."""

    verdicts: dict[Outcome, int]
    """How those came out."""


class ScorePoint(View):
    """A claimed score beside the reproduced one: a point of a picture."""

    claim_id: str
    model: str
    dataset: str | None
    task: str | None
    submitter: str | None
    pull_request: int | None
    """Null for a claim of the model's author."""

    outcome: Outcome
    claimed: Proportion
    reproduced: Proportion | None
    """Null where no sample was scored."""

    standard_error: float | None
    interval: Interval | None
    tolerance: float
    samples_used: int
    population: int
    decided_at: datetime


class TaskScores(View):
    """How claims on one task came out."""

    dataset: str | None
    task: str | None
    """Null where the benchmark's only task has no id, and where an entry could not be read."""

    claims: int
    """Claims that were found and not withdrawn."""

    verdicts: dict[Outcome, int]
    match_rate: Proportion | None
    """The part that is verified, of all that are verified or a mismatch; null if there are none."""

    points: tuple[ScorePoint, ...]
    """Of the newest 200 claims of the whole answer that were measured; `/v1/points` has all."""


class SpecView(View):
    """The benchmark's eval.yaml at its current revision."""

    revision: str
    sha256: str
    text: str
    """As it stands; bytes that are no UTF-8 are replaced. Comes from outside: escape it."""


class BenchmarkDetail(View):
    """One benchmark, and how the claims on it came out."""

    id: str
    revision: str | None
    gated: bool
    seen_at: datetime
    spec: SpecView | None
    """Null where there is no eval.yaml at that revision."""

    samples: dict[str, dict[str, int]]
    """Number of samples by configuration and split, as the dataset's card says."""

    claims: int
    verdicts: dict[Outcome, int]
    match_rate: Proportion | None
    tasks: tuple[TaskScores, ...]
    """200 at most: those with points first, then those with most measured claims, then those with most claims."""

    points_next: str | None
    """The `cursor` for `/v1/points?dataset=…` of what follows the points here; null where they are all."""

    counted_at: datetime | None
    """When claims and verdicts were counted, where something may have changed since; see `Overview.counted_at`."""


class ModelDetail(View):
    """One model, and how its claims came out."""

    id: str
    revision: str | None
    """Null where the repo is gone, or was not looked at yet."""

    gated: bool
    weights_sha256: str | None
    """Of all files that can change what the model answers."""

    weights_bytes: int | None
    looked_at: datetime | None
    claims: dict[ClaimStateName, int]
    """Withdrawn ones included."""

    verdicts: dict[Outcome, int]
    """Of claims that were not withdrawn."""

    match_rate: Proportion | None
    tasks: tuple[TaskScores, ...]
    """200 at most: those with points first, then those with most measured claims, then those with most claims."""

    points_next: str | None
    """The `cursor` for `/v1/points?model=…` of what follows the points here; null where they are all."""

    counted_at: datetime | None
