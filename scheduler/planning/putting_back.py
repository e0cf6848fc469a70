"""A score that was taken away and put back is the same one, and so is the run that was to decide it.

Else its author could watch a run, take the entry back where it goes badly, and have it run with other luck until it
pleases: docs/decisions/0018. With other notes, in another file or on a pull request it is run as it was, and so the
same. The score was fixed before the run's seed was drawn, whichever row it stands in now, so what is said of its error
holds as it did.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from scheduler.admission.admission import Run
from scheduler.database.tables import Claim, Reproduction
from scheduler.judging.stopping import decides, stopping_of, takes_claims_to_the_end
from scheduler.planning.freshness import Shared, was_repeated
from scheduler.state_machine import ReproductionState
from scheduler.stored_values import settings_of


class Begun(NamedTuple):
    """A run that was sent out for a score."""

    key: str
    value: float | None
    reproduction_id: str


def begun_for(
    session: Session, claims: Collection[Claim], weights: Collection[str], keys: Collection[str]
) -> list[Begun]:
    """The runs of some keys, of some `weights`, that were sent out for the scores of some claims; nothing is locked."""
    if not keys:
        return []
    asked = {
        "weights": list(weights),
        "datasets": list({claim.dataset_id for claim in claims}),
        "keys": list(keys),
        "values": list({claim.value for claim in claims}),
    }
    return [Begun(*row) for row in session.execute(_BEGUN, asked)]


_BEGUN = (
    select(Reproduction.key, Claim.value, Reproduction.reproduction_id)
    .distinct()
    .join(Claim, Claim.reproduction_id == Reproduction.reproduction_id)
    .where(
        # The first two follow from the key, and have an index.
        Reproduction.weights_sha256.in_(bindparam("weights", expanding=True)),
        Reproduction.dataset_id.in_(bindparam("datasets", expanding=True)),
        Reproduction.key.in_(bindparam("keys", expanding=True)),
        Claim.value.in_(bindparam("values", expanding=True)),
        # Before it is sent out nothing of its result is fixed.
        Reproduction.seed.is_not(None),
        ~was_repeated(),
    )
)
"""Made once: what it says of later runs takes longer to put together than to answer."""


def run_of_same_score(shared: Shared, begun: Collection[Begun], claim: Claim, run: Run) -> Reproduction | None:
    """The latest that was to decide a claim, or another of the same score; None where it failed, or is too old.

    Where it was cancelled, and begun again for another claim that shared it, that one: one run answers both again.
    """
    said = (run.key, claim.value)
    held = [shared.begun(each.reproduction_id) for each in begun if each[:2] == said]
    found = max((each for each in held if each is not None), key=lambda each: each.created_at, default=None)
    if found is None or found.state == ReproductionState.FAILED:
        return None
    if claim.fresh_after is not None and found.created_at < claim.fresh_after:
        return None
    stopping = stopping_of(found)
    if stopping is not None and not decides(stopping, run.rules):
        return None
    return (shared.begun_again(found) if found.state == ReproductionState.CANCELLED else None) or found


def begin_as(reproduction: Reproduction, before: Reproduction) -> None:
    """Have a new run ask what a cancelled one was to ask, in its order: whoever had that cancelled gains nothing."""
    reproduction.seed, reproduction.stopping = before.seed, before.stopping
    reproduction.joinable = takes_claims_to_the_end(settings_of(reproduction))
