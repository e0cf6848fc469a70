"""What the API says, version 1. Fields may be added; none changes its name or meaning, and none goes away.

Times are UTC. Scores are proportions, except `value`, which is as its author wrote it. Text that came from outside is
as it was stored: whoever shows it escapes it for the place it is shown in. A field that is null says, in its
description here, what that means.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from specs.attestation import Attestation
from specs.judging.verdict import Comparison, Interval, Outcome
from specs.measurement import Circumstances, Proportion
from specs.policy.rules import Scale

ClaimStateName = Literal["submitted", "planned", "blocked", "decided", "rejected", "withdrawn"]
ReproductionStateName = Literal["queued", "dispatched", "running", "completed", "failed", "cancelled"]
PublicationStateName = Literal["pending", "published", "withdrawn"]

MAX_PAGE = 200

ID_CHARS = 32
"""Of an id, hexadecimal ones."""

MIN_ID_PREFIX = 6


class View(BaseModel):
    """The base of all answers. A client ignores fields that it does not know, so that the farm can add some."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


Item = TypeVar("Item")


class Page(View, Generic[Item]):
    """A part of a list."""

    items: tuple[Item, ...]
    next: str | None
    """Give it back as `cursor` for what follows; null where nothing does."""


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
    """In words, and what stands against it, as a pool without workers; null where it does not wait."""

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
    """Where `score` would come to lie with more of the same samples, in 95 of 100: Wilson's interval, wider than need
    be for scores in between. Of whatever answered first, which is easier; the verdict's interval is another one. Null
    before the first score."""

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
    """Samples with a score."""

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
    nothing was measured."""

    claims: tuple[str, ...]
    """Ids of the claims that it judges."""


class VerdictSummary(View):
    """What became of a claim."""

    outcome: Outcome
    reason: str
    comparison: Comparison | None
    """Null where nothing was measured."""

    decided_at: datetime
    likely_reasons: tuple[str, ...] = ()
    """For a mismatch, what in the run may explain it, the likeliest first; empty where nothing stands out."""


class VerdictView(VerdictSummary):
    """A verdict, by itself."""

    claim_id: str
    model: str
    dataset: str | None
    task: str | None
    reproduction_id: str | None
    """Null where nothing had to be run to decide."""


class BadgeSummary(View):
    """A signed statement of a verified verdict, by its id."""

    id: str
    signed_at: datetime
    revoked: bool


class PublicationView(View):
    """What the farm wrote, or is to write, on the Hub."""

    state: PublicationStateName
    number: int | None
    """Of the pull request or discussion."""

    url: str | None
    reason: str


class ClaimView(View):
    """One entry of a model's results, and all that became of it."""

    id: str
    model: str
    ref: str
    """`main`, or `refs/pr/N` for a community claim."""

    commit: str
    """Of the model repo, where the entry was last read."""

    pull_request: int | None
    path: str
    entry: int
    """Position in the file, from 0."""

    submitter: str | None
    dataset: str | None
    """Null, like `task` and `value`, where the entry could not be read."""

    task: str | None
    dataset_revision: str | None
    """As the claim pins it; null means whatever the benchmark was when it was planned."""

    value: float | None
    """As written, in the benchmark's scale."""

    scale: Scale | None
    """How `value` was read; null until that is decided."""

    claimed: Proportion | None
    """`value` as a proportion; null until the scale is decided."""

    tolerance: float | None
    """The widest difference that still counts as reproduced; null until it is known."""

    notes: str | None
    source_url: str | None
    warnings: tuple[str, ...]
    state: ClaimStateName
    reason: str
    """Why it is in this state, and whose move it is."""

    since: datetime
    created_at: datetime
    next_step: str
    """What happens next, or what somebody could do."""

    gpu_seconds: float | None
    """What a run for it alone is taken to cost; null until that was planned."""

    reproduction: ReproductionSummary | None
    verdict: VerdictSummary | None
    badge: BadgeSummary | None
    publication: PublicationView | None
    stale: bool = False
    """Whether its verdict no longer describes what the Hub holds, or is older than policy has it."""

    stale_reason: str | None = None
    """In what; null where it is not stale."""

    supersedes: str | None = None
    """Id of the claim that was the same entry before it was tried or verified again."""

    superseded_by: str | None = None
    """Id of the claim that is the same entry since."""


class Revocation(View):
    """A badge that no longer counts."""

    badge_id: str
    claim_id: str
    revoked_at: datetime
    reason: str


class BadgeView(BadgeSummary):
    """A badge with its proof."""

    claim_id: str
    key_id: str
    token: str
    """The exact signed text: the Hub's `verifyToken`."""

    payload: Attestation
    """What the token says, decoded; the proof is the token."""

    revocation: Revocation | None
    stale: bool = False
    """Whether it no longer describes what the Hub holds. It stays true in what it says of the commits that it names."""

    stale_reason: str | None = None
    superseded_by: str | None = None
    """Id of the claim that is the same entry since it was verified again; null where it was not."""


class EventView(View):
    """Who did what to which thing, when and why."""

    id: int
    """Grows; later events have larger ids."""

    at: datetime
    actor: str
    subject: str
    """claim, reproduction, benchmark, model, badge, key, worker, webhook, token or user."""

    subject_id: str
    what: str
    """For a change of state, the new state."""

    why: str


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


class NoiseGroup(View):
    """What pairs of re-runs in like circumstances say together. Proportions."""

    settings_sha256: str
    """Of the sampling and other settings that may change answers. Pairs under different ones are never put together."""

    epochs: int
    model_class: str | None
    """By the size of the weights at two bytes a parameter; null takes models of any size."""

    engines: tuple[str, ...] | None
    """Versions of vLLM: one where both runs of every pair had it, two where one had each; null takes any."""

    hardware: tuple[str, ...] | None
    """In the same way."""

    pairs: int
    comparisons: int
    """Pairs that are independent of one another: runs less models."""

    samples: int
    """In common, summed over the pairs."""

    mean_difference: float
    """Of the later run's scores less the earlier's."""

    mean_square: float
    """Mean squared difference of a sample's two scores."""

    shift: float
    """Standard deviation of what moves all samples of a run at once; 0 where nothing of it was seen."""

    spread: float | None
    """Standard deviation of the difference between two full runs' scores, erring on the wide side; null where too
    little is known."""

    tolerance: float | None
    """What policy's `tolerance: measured` makes of it; null where too little is known."""


class NoiseView(View):
    """How much honest re-runs of a task differ."""

    dataset: str
    task: str | None
    population: int
    """Samples that the task has, for which `spread` is given."""

    groups: tuple[NoiseGroup, ...]
    """From any circumstances to the narrowest. A claim is planned with the narrowest that holds its run and has a
    spread."""


class Problem(View):
    """An error (RFC 9457, `application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[str, ...] = ()
    """Where a request is wrong in several places, each of them."""


class Health(View):
    """Whether the process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(View):
    """Whether the farm can work; what cannot is named with its reason."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]
    """By name, `database` and `broker`: `ok`, or what is wrong."""


class Jwks(View):
    """The farm's public keys, those of the past included (RFC 7517)."""

    keys: Annotated[tuple[dict[str, str], ...], Field(default_factory=tuple)]
