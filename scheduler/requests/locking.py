"""Claims that somebody wants something done about, locked in the order in which everybody locks."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.tables import Claim, Reproduction
from scheduler.state_machine import ClaimState


def lock(session: Session, claim_id: str) -> Claim:
    """The claim, locked after the reproduction that it waits for: the order in which reports lock them.

    A claim is planned by whoever holds it. So one that was waited for may have a reproduction that nobody knew of
    before, and that is not locked: it is let go of, and locked once more behind that.
    """
    while True:
        with session.begin_nested() as locks:
            run_id = session.scalar(
                select(Claim.reproduction_id).where(Claim.claim_id == claim_id, Claim.state == ClaimState.PLANNED)
            )
            if run_id is not None:
                session.get_one(Reproduction, run_id, with_for_update=True, populate_existing=True)
            claim = session.get_one(Claim, claim_id, with_for_update=True, populate_existing=True)
            if claim.state != ClaimState.PLANNED or claim.reproduction_id == run_id:
                return claim
            locks.rollback()
