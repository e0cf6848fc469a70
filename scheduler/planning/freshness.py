"""How new a run has to be for a claim that asks for a fresh one, and what was run of late."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, func, or_, select, union
from sqlalchemy.orm import Session, aliased

from scheduler.database.tables import Claim, Reproduction, now
from scheduler.state_machine import CAME_TO_NOTHING, ReproductionState
from scheduler.stored_values import version_of
from specs.judging.staleness import too_old
from specs.policy.reverify import ReverifyRules

LOOKED_AT = 20
"""Runs whose versions are compared: each has megabytes, and one before so many others answers little."""


CLAIMS_OF_A_RUN = (
    Claim.reproduction_id == Reproduction.reproduction_id,
    # Whom it was made for: by now that may have a run of another key, or a verdict without any.
    Claim.claim_id == Reproduction.caused_by,
)
"""Two joins, since neither kind of database looks for both at once by their indexes."""


class Freshness(NamedTuple):
    """How new a run has to be that answers a claim."""

    since: datetime | None
    """When it was asked for at the earliest, or since when runs are current; None where any run will do. One that was
    not sent out yet always does."""

    again: bool = False
    """Whether a fresh run was sent out already for what was asked with the claim: another is the second of them."""


class Target(NamedTuple):
    """What a run is a try at, by whichever model of its namespace: that gives a model another name when it likes."""

    namespace: str
    dataset_id: str | None
    task_id: str | None

    @classmethod
    def of(cls, model_id: str, dataset_id: str | None, task_id: str | None) -> Target:
        """That of a run of this model."""
        return cls(model_id.partition("/")[0], dataset_id, task_id)


class Versions(NamedTuple):
    """The versions that a run is pinned to, weights and dataset commit. A new one of either gives a new run key."""

    weights_sha256: str | None
    dataset_revision: str | None


def asked_with(session: Session, claim: Claim, weights_sha256: str | None, key: str, rules: ReverifyRules) -> Freshness:
    """How new a claim's run has to be, which counts as asked together with what was asked within policy's cooldown.

    Requests are grouped by run key. Otherwise a changed note, file or last digit would buy another run, and so another
    draw of answers. But what was asked on a pull request, which anybody may open, is not asked of the author's entry.
    Runs on an engine that policy holds for too old are left out.
    """
    if claim.fresh_after is None:
        return Freshness(None)
    since = claim.fresh_after - timedelta(seconds=rules.cooldown_seconds)
    outdated = _outdated(session, weights_sha256, claim.dataset_id, key, since, rules)
    # The claim's own among them: one that was cancelled, or went on for others while the claim was.
    sent = [
        select(func.min(Claim.fresh_after))
        .select_from(Reproduction)
        .join(Claim, of_it)
        .where(
            *_sent_for_what_was_asked(claim, weights_sha256, key, since),
            Reproduction.reproduction_id.not_in(list(outdated)),
        )
        for of_it in CLAIMS_OF_A_RUN
    ]
    earliest = min(filter(None, map(session.scalar, sent)), default=None)
    asked_at = claim.fresh_after if earliest is None else min(earliest, claim.fresh_after)
    # Nor does one on an old engine answer what was asked before it was made.
    after_those = max(outdated.values()) + timedelta.resolution if outdated else asked_at
    return Freshness(max(asked_at, after_those), again=earliest is not None)


def answered_until(session: Session, claim: Claim, rules: ReverifyRules) -> datetime | None:
    """Until when a decided claim's own run would answer it again, as it counts as asked with that; None where not."""
    run = claim.reproduction
    if run is None or run.state == ReproductionState.FAILED:
        return None
    since = now() - timedelta(seconds=rules.cooldown_seconds)
    # Of either the earlier is the first to fall out of the window.
    within = case((Claim.fresh_after < Reproduction.created_at, Claim.fresh_after), else_=Reproduction.created_at)
    latest: datetime | None = session.scalar(
        select(func.max(within))
        .join(Claim.reproduction)
        .where(
            *_sent_for_what_was_asked(claim, run.weights_sha256, run.key, since), Claim.fresh_after <= run.created_at
        )
    )
    if latest is None:
        return None
    outdated = _outdated(session, run.weights_sha256, run.dataset_id, run.key, since, rules)
    answers = select(~was_repeated()).where(Reproduction.reproduction_id == run.reproduction_id)
    if any(created_at >= run.created_at for created_at in outdated.values()) or not session.scalar(answers):
        return None
    return latest + timedelta(seconds=rules.cooldown_seconds)


def _sent_for_what_was_asked(
    claim: Claim, weights_sha256: str | None, key: str, since: datetime
) -> Sequence[ColumnElement[bool]]:
    """Of a claim and its run: whether that was sent out, and both count as asked together with `claim`."""
    return (
        # The first two follow from the key, and have an index.
        Reproduction.weights_sha256 == weights_sha256,
        Reproduction.dataset_id == claim.dataset_id,
        Reproduction.key == key,
        Reproduction.seed.is_not(None),
        # What failed told nothing. One that was cancelled did: whose claim it was may have seen how it went.
        Reproduction.state != ReproductionState.FAILED,
        # Else one run would answer day after day, each time as what was asked with the day before.
        Reproduction.created_at > since,
        Claim.fresh_after > since,
        *([Claim.ref == claim.ref] if claim.ref == "main" else []),
    )


def _outdated(
    session: Session,
    weights_sha256: str | None,
    dataset_id: str | None,
    key: str,
    since: datetime,
    rules: ReverifyRules,
) -> dict[str, datetime]:
    """The latest runs since then that policy holds for too old an engine's, and when they were made.

    A verdict by one of them would be stale as it is given.
    """
    names = sorted(rules.minimum_versions)
    if not names:
        return {}
    ran = session.execute(
        select(Reproduction.reproduction_id, Reproduction.created_at, *map(version_of, names))
        .where(
            # The first two follow from the key, and have an index.
            Reproduction.weights_sha256 == weights_sha256,
            Reproduction.dataset_id == dataset_id,
            Reproduction.key == key,
            Reproduction.state == ReproductionState.COMPLETED,
            Reproduction.created_at > since,
        )
        .order_by(Reproduction.created_at.desc())
        .limit(LOOKED_AT)
    )
    return {
        reproduction_id: created_at
        for reproduction_id, created_at, *versions in ran
        if too_old(dict(zip(names, versions, strict=True)), rules) is not None
    }


def was_repeated() -> ColumnElement[bool]:
    """Whether a run of the same key was asked for anew since, and neither failed nor was cancelled unsent.

    One that was cancelled under way counts: whose claim it was may have seen how it went, and got its old verdict back
    by another value. One that was begun again in its own place does not: others that shared it await that same one.
    """
    later = aliased(Reproduction)
    return exists().where(
        later.key == Reproduction.key,
        later.seed.is_distinct_from(Reproduction.seed),
        later.asked_anew,
        later.created_at > Reproduction.created_at,
        _may_tell(later),
    )


def _may_tell(run: type[Reproduction]) -> ColumnElement[bool]:
    """Whether anybody may learn something of a run, or did: it neither failed nor was cancelled unsent."""
    is_cancelled = run.state == ReproductionState.CANCELLED
    # One that is begun again has its seed from the start.
    return or_(run.state.not_in(CAME_TO_NOTHING), and_(is_cancelled, run.attempt > 0))


class Made(NamedTuple):
    """A run that was planned of late."""

    model_id: str
    versions: Versions
    community: bool
    """Whether it was planned for a claim on a pull request, which anybody may open."""


def made_lately(
    session: Session, models: Collection[str], weights: Collection[str], rules: ReverifyRules
) -> dict[Target, set[Made]]:
    """The runs of some models, or of some `weights` under any name, that were planned within policy's cooldown."""
    since = now() - timedelta(seconds=rules.cooldown_seconds)
    made: dict[Target, set[Made]] = {}
    rows = session.execute(_MADE, {"models": list(models), "weights": list(weights), "since": since})
    for model_id, dataset_id, task_id, weights_sha256, revision, community in rows:
        found = Made(model_id, Versions(weights_sha256, revision), community)
        made.setdefault(Target.of(model_id, dataset_id, task_id), set()).add(found)
    return made


# Each by an index of its own.
_MADE = union(
    *(
        select(
            Reproduction.model_id,
            Reproduction.dataset_id,
            Reproduction.task_id,
            Reproduction.weights_sha256,
            Reproduction.dataset_revision,
            Reproduction.community,
        ).where(found, Reproduction.created_at > bindparam("since"), _may_tell(Reproduction))
        for found in (
            Reproduction.model_id.in_(bindparam("models", expanding=True)),
            Reproduction.weights_sha256.in_(bindparam("weights", expanding=True)),
        )
    )
)
