"""What the API says, version 1, of claims and what became of them. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from specs.api_v1.badges import BadgeSummary
from specs.api_v1.reproductions import ReproductionSummary
from specs.api_v1.views import View
from specs.judging.verdict import Comparison, Outcome
from specs.measurement import Proportion
from specs.policy.verification import Scale

ClaimStateName = Literal["submitted", "planned", "blocked", "decided", "rejected", "withdrawn"]
PublicationStateName = Literal["pending", "published", "kept_out", "withdrawn"]


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
    claimed: Proportion | None = None
    """What was claimed, measured or not; null where its scale was never decided, and from earlier farms."""

    reproduction_id: str | None
    """Null where nothing had to be run to decide."""


class PublicationView(View):
    """What the farm wrote, or is to write, on the Hub."""

    state: PublicationStateName
    """`kept_out`: nothing was written, as the entry carried somebody else's proof."""

    number: int | None
    """Of the pull request or discussion; null where there is none, also where the entry carried the proof already."""

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

    scale_source: Literal["policy", "leaderboard"] | None = None
    """Who decided it: policy's `scale`, or how most write on the benchmark's leaderboard; null until then."""

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
    """Why it is stale; null if it is not."""

    supersedes: str | None = None
    """Id of the claim that was the same entry before it was tried or verified again."""

    superseded_by: str | None = None
    """Id of the claim that is the same entry since."""
