"""A score that was taken away and put back is the same one, and so is the run that was to decide it.

Else its author could watch a run, take the entry back where it goes badly, and have it run with other luck until it
pleases: docs/decisions/0018. With other notes, in another file or on a pull request it is run as it was, and so the
same. The score was fixed before the run's seed was drawn, whichever row it stands in now, so what is said of its error
holds as it did.

One that asked every sample was to decide whatever was claimed, so where it was cancelled it is begun again for any
value: docs/decisions/0033.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, bindparam, exists, select, union
from sqlalchemy.orm import Session, aliased

from scheduler.admission.admission import Admitted
from scheduler.admission.judging_rules import JudgingRules
from scheduler.database.tables import Claim, Reproduction, VerdictRow
from scheduler.judging.stopping import asks_every_sample, decides, stopping_of
from scheduler.planning.freshness import CLAIMS_OF_A_RUN, was_repeated
from scheduler.planning.joinable_runs import JoinableRuns
from scheduler.state_machine import ClaimState, ReproductionState


class Begun(NamedTuple):
    """A run that was sent out for a score, or was cancelled and had been to decide all."""

    key: str
    value: float | None
    """None for all."""

    reproduction_id: str


def begun_for(
    session: Session, claims: Collection[Claim], weights: Collection[str], keys: Collection[str]
) -> list[Begun]:
    """The runs of some keys, of some `weights`, that were sent out for the scores of some claims; nothing is locked.

    And of each key the latest that was to decide all and was cancelled.
    """
    if not keys:
        return []
    asked = _asked(claims, weights, keys)
    found = [Begun(*row) for row in session.execute(_BEGUN, asked)]
    latest = {row.key: row.reproduction_id for row in session.execute(_CANCELLED, asked)}
    return [*found, *(Begun(key, None, name) for key, name in latest.items())]


class AskedAnew(NamedTuple):
    """A re-verification of a score whose claim was taken away before it had a verdict."""

    key: str
    value: float | None
    ref: str
    fresh_after: datetime


def asked_anew_for(
    session: Session, claims: Collection[Claim], weights: Collection[str], keys: Collection[str]
) -> list[AskedAnew]:
    """Those of the scores of some claims, by the keys and `weights` of the runs that were not to answer again."""
    if not keys:
        return []
    found = session.execute(_ASKED_ANEW, _asked(claims, weights, keys))
    return [AskedAnew(key, value, ref, since) for key, value, ref, since in found if since is not None]


def still_asked_anew(asked: Collection[AskedAnew], claim: Claim, key: str) -> datetime | None:
    """Since when a claim's score awaits a fresh run, where its own row does not say so; None where it does, or none."""
    # What was asked on a pull request, which anybody may open, is not asked of the author's entry.
    times = [
        each.fresh_after
        for each in asked
        if each[:2] == (key, claim.value) and (claim.ref != "main" or each.ref == claim.ref)
    ]
    latest = max(times, default=None)
    known = claim.fresh_after
    return latest if latest is not None and (known is None or known < latest) else None


def _asked(claims: Collection[Claim], weights: Collection[str], keys: Collection[str]) -> dict[str, list[object]]:
    return {
        "weights": list(weights),
        "datasets": list({claim.dataset_id for claim in claims}),
        "keys": list(keys),
        "values": list({claim.value for claim in claims}),
    }


_SENT = (
    # The first two follow from the key, and have an index.
    Reproduction.weights_sha256.in_(bindparam("weights", expanding=True)),
    Reproduction.dataset_id.in_(bindparam("datasets", expanding=True)),
    Reproduction.key.in_(bindparam("keys", expanding=True)),
    # Before it is sent out nothing of its result is fixed.
    Reproduction.seed.is_not(None),
    ~was_repeated(),
)
"""Made once, as the two that follow: what it says of later runs takes longer to put together than to answer."""

_BEGUN = union(
    *(
        select(Reproduction.key, Claim.value, Reproduction.reproduction_id)
        .join(Claim, of_it)
        .where(*_SENT, Claim.value.in_(bindparam("values", expanding=True)))
        for of_it in CLAIMS_OF_A_RUN
    )
)

_CANCELLED = (
    select(Reproduction.key, Reproduction.reproduction_id)
    # One that stops by nothing asks every sample, up to its limit: of that its settings tell.
    .where(*_SENT, Reproduction.state == ReproductionState.CANCELLED, Reproduction.stopping.is_(None))
    .order_by(Reproduction.created_at)
)

_AGAIN = aliased(Claim)

_ASKED_ANEW = (
    select(Reproduction.key, _AGAIN.value, _AGAIN.ref, _AGAIN.fresh_after)
    .join(Claim, Claim.reproduction_id == Reproduction.reproduction_id)
    # By the claim that it took the place of: it may never have been planned. The slot has an index.
    .join(_AGAIN, and_(_AGAIN.slot == Claim.slot, _AGAIN.supersedes == Claim.claim_id))
    .where(
        # The first two follow from the key, and have an index.
        Reproduction.weights_sha256.in_(bindparam("weights", expanding=True)),
        Reproduction.dataset_id.in_(bindparam("datasets", expanding=True)),
        Reproduction.key.in_(bindparam("keys", expanding=True)),
        _AGAIN.value.in_(bindparam("values", expanding=True)),
        _AGAIN.fresh_after.is_not(None),
        _AGAIN.state == ClaimState.WITHDRAWN,
        ~exists().where(VerdictRow.claim_id == _AGAIN.claim_id),
    )
)
"""A claim that has its verdict is done with, whatever became of it."""


def run_before(
    shared: JoinableRuns, begun: Collection[Begun], claim: Claim, run: Admitted, since: datetime | None
) -> Reproduction | None:
    """The run that was to decide a claim's score, else the cancelled one that was to decide all; None where neither.

    `since` is as in `Freshness`.
    """
    return _of_same_score(shared, begun, claim, run, since) or _cancelled(shared, begun, run, since)


def _cancelled(
    shared: JoinableRuns, begun: Collection[Begun], run: Admitted, since: datetime | None
) -> Reproduction | None:
    """The latest that asked every sample, whatever was claimed, and was cancelled; None where it is too old.

    What was begun again in its place takes claims by itself: `JoinableRuns.find`.
    """
    for each in begun:
        found = shared.begun(each.reproduction_id) if each[:2] == (run.key, None) else None
        if found is not None and (since is None or found.created_at >= since):
            # Else whoever cancels one as it goes badly has other luck by the next value.
            return found if asks_every_sample(found, one_was_sent=False, claims=0) else None
    return None


def _of_same_score(
    shared: JoinableRuns, begun: Collection[Begun], claim: Claim, run: Admitted, since: datetime | None
) -> Reproduction | None:
    """The latest that was to decide a claim, or another of the same score; None where it failed, or is too old.

    None too where it stops by other rules than the claim is judged by now, unless it was cancelled: `begin_as`. Where
    that was begun again for another claim that shared it, the one that was: one run answers both again.
    """
    said = (run.key, claim.value)
    held = [shared.begun(each.reproduction_id) for each in begun if each[:2] == said]
    found = max((each for each in held if each is not None), key=lambda each: each.created_at, default=None)
    if found is None or found.state == ReproductionState.FAILED:
        return None
    if since is not None and found.created_at < since:
        return None
    if found.state != ReproductionState.CANCELLED:
        return found if _answers(found, run.rules) else None
    again = shared.begun_again(found)
    # Whatever the rules are by now: what is measured of noise moves with every run, and would be other luck each time.
    return again if again is not None and _answers(again, run.rules) else found


def _answers(reproduction: Reproduction, rules: JudgingRules) -> bool:
    """Whether a run that was sent out was to decide a claim by these rules, or to ask every sample that it may."""
    stopping = stopping_of(reproduction)
    return stopping is None or decides(stopping, rules)


def begin_as(reproduction: Reproduction, before: Reproduction, rules: JudgingRules) -> None:
    """Give the replacement of a cancelled run the same seed and stopping rule, so that cancelling gains little.

    Where it would stop by other `rules` than a claim is judged by now, it asks every sample in that order. The answers
    may differ even so, and its score so far is on view. So it is the last: `begun_again.goes_to_its_end`.
    """
    reproduction.seed = before.seed
    reproduction.stopping = before.stopping if _answers(before, rules) else None
    # Whoever it is begun again for: what gave way to it still does.
    reproduction.asked_anew = reproduction.asked_anew or before.asked_anew
    reproduction.second_anew = before.second_anew
    # One that asks every sample takes claims from the start, as it did: no third is made beside it.
    reproduction.joinable = asks_every_sample(reproduction, one_was_sent=False, claims=0)
