"""Whether a verdict still describes what the Hub holds. Pure: what was run, what is there now, in; a reason out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from specs.judging.scale import as_proportion
from specs.policy.reverify import ReverifyRules
from specs.policy.verification import Scale
from specs.text import clean
from specs.version_order import is_older

MAX_REASON_CHARS = 1000

READ_AS = "it was read as a "
"""How the reason of `read_otherwise` begins, and no other."""


@dataclass(frozen=True)
class Ran:
    """What a verdict rests on."""

    weights_sha256: str
    dataset_revision: str
    content_sha256: str | None
    """Of the dataset's files at that revision; None where it is not known."""

    versions: Mapping[str, str | None]
    """Of the packages that policy has a minimum for; None where the run did not say."""

    signed_at: datetime | None
    """Of its badge; None where it has none."""

    value: float | None = None
    """As the claim writes it."""

    scale: Scale | None = None
    """On which that was read; None where it was not decided."""


@dataclass(frozen=True)
class Head:
    """What the Hub holds now, as the farm last saw it; None where it is not known."""

    weights_sha256: str | None
    dataset_revision: str | None
    """None too where the claim pins a revision: nothing newer concerns it."""

    content_sha256: str | None

    scale: Scale | None = None
    """On which policy, or else the benchmark's leaderboard, would have a value read."""


def what_changed(ran: Ran, head: Head) -> str | None:
    """What there is to measure now that was not measured; None where it is the same.

    A dataset commit counts where it touches more than documentation, or where the farm does not know what it touches.
    """
    if head.weights_sha256 is not None and head.weights_sha256 != ran.weights_sha256:
        return "the model's files changed since"
    if head.dataset_revision is None or head.dataset_revision == ran.dataset_revision:
        return None
    if None not in (ran.content_sha256, head.content_sha256) and ran.content_sha256 == head.content_sha256:
        return None
    return (
        f"the benchmark changed since: it is at {head.dataset_revision[:12]} now, and was at "
        + (ran.dataset_revision[:12])
    )


def stale_reason(ran: Ran, head: Head, rules: ReverifyRules, at: datetime) -> str | None:
    """Why a verdict does not stand for what is there now, the weightiest first; None where it does."""
    changed = what_changed(ran, head)
    if changed is not None:
        return changed
    otherwise = read_otherwise(ran, head)
    if otherwise is not None:
        return otherwise
    old = too_old(ran.versions, rules)
    if old is not None:
        return old
    if rules.after_days is not None and ran.signed_at is not None:
        ends = ran.signed_at + timedelta(days=rules.after_days)
        if ends <= at:
            return f"it was signed on {ran.signed_at:%Y-%m-%d}, more than {rules.after_days:g} days ago"
    return None


def read_otherwise(ran: Ran, head: Head) -> str | None:
    """Why a claim's value would be read as another score now; None where it would not, or as none: 57 is 57 % anyhow.

    Nothing of this is another thing to measure: it is no part of `what_changed`, which lifts the wait for a fresh run.
    """
    if ran.value is None or ran.scale is None or head.scale is None:
        return None
    if as_proportion(ran.value, head.scale) in (None, as_proportion(ran.value, ran.scale)):
        return None
    return (
        f"{READ_AS}{ran.scale}, and policy or most on the benchmark's leaderboard have each score as a {head.scale} now"
    )


def too_old(versions: Mapping[str, str | None], rules: ReverifyRules) -> str | None:
    """Why a run with these versions of what policy has a minimum for is not current; None where it is."""
    for name, minimum in sorted(rules.minimum_versions.items()):
        version = versions.get(name)
        if version is None:
            return clean(f"it does not say which version of {name} it ran with; policy asks for {minimum}", 1000)
        if is_older(version, minimum):
            return clean(f"it ran with {name} {version}, and policy asks for {minimum} at least", MAX_REASON_CHARS)
    return None
