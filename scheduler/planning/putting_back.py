"""An entry that was taken away and put back is the same one, and so is the run that was to decide it.

Else its author could watch a run, take the entry back where it goes badly, and have it run with other luck until it
pleases: docs/decisions/0018. The claim was fixed before the run's seed was drawn, whichever row it stands in now, so
what is said of its error holds as it did.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.admission import Run, RunSettings
from scheduler.database.tables import Claim, Reproduction
from scheduler.judging.stopping import decides, stopping_of, takes_claims_to_the_end
from scheduler.machine import ReproductionState
from scheduler.planning.freshness import was_repeated


class SameEntries:
    """The runs that were begun for some claims' entries while these said the same, each locked."""

    def __init__(self, session: Session, claims: Collection[Claim]) -> None:
        self._found = session.execute(
            select(Claim.slot, Claim.value, Claim.dataset_revision, Reproduction)
            .join(Reproduction, Claim.reproduction_id == Reproduction.reproduction_id)
            .where(
                Claim.slot.in_({claim.slot for claim in claims}),
                # Before a run is sent out nothing of its result is fixed.
                Reproduction.seed.is_not(None),
                ~was_repeated(),
            )
            # All who lock several do so in one order, or two could wait for one another.
            .order_by(Reproduction.reproduction_id)
            .with_for_update(of=Reproduction)
        ).all()

    def latest(self, claim: Claim, run: Run) -> Reproduction | None:
        """The latest that was to decide a claim; None where it failed, or is too old for the claim."""
        said = (claim.slot, claim.value, claim.dataset_revision)
        runs = [each for *facts, each in self._found if tuple(facts) == said and each.key == run.key]
        found = max(runs, key=lambda each: each.created_at, default=None)
        if found is None or found.state == ReproductionState.FAILED:
            return None
        if claim.fresh_after is not None and found.created_at < claim.fresh_after:
            return None
        stopping = stopping_of(found)
        return found if stopping is None or decides(stopping, run.rules) else None


def begin_as(reproduction: Reproduction, before: Reproduction) -> None:
    """Have a new run ask what a cancelled one was to ask, in its order: whoever had that cancelled gains nothing."""
    reproduction.seed, reproduction.stopping = before.seed, before.stopping
    settings = RunSettings.model_validate(reproduction.settings, strict=False)
    reproduction.joinable = takes_claims_to_the_end(settings)
