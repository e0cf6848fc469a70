"""Claims that somebody wants something done about, locked in the order in which everybody locks."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from scheduler.database.id_prefixes import begins
from scheduler.database.tables import Claim, Reproduction
from scheduler.state_machine import ClaimState
from specs.api_v1.views import MIN_ID_PREFIX
from specs.errors import InterventionError

ANEW = {"populate_existing": True}
"""What a session knows of a row may be from before it waited for that."""


def find_claim(session: Session, start: str) -> Claim:
    """The claim whose id begins so, locked.

    Raises:
        InterventionError: no claim's id does, or several do.
    """
    if len(start) < MIN_ID_PREFIX:
        raise InterventionError(f"{start!r}: give at least {MIN_ID_PREFIX} characters of the claim's id")
    found = session.scalars(select(Claim.claim_id).where(begins(Claim.claim_id, start)).limit(2)).all()
    if len(found) != 1:
        raise InterventionError(f"{'several claims have' if found else 'no claim has'} an id like {start}")
    return lock(session, found[0])


def lock(session: Session, claim_id: str) -> Claim:
    """The claim, locked after the reproduction that it waits for: the order in which reports lock them."""
    return lock_all(session, [claim_id])[0]


def lock_all(session: Session, claim_ids: Sequence[str]) -> list[Claim]:
    """Claims as `claim_ids` name them, locked after the reproductions that they wait for; each kind by its ids.

    A claim is planned by whoever holds it. So one that was waited for may have a reproduction that nobody knew of
    before, and that is not locked: all are let go of, and locked once more behind that.

    Raises:
        NoResultFound: there is no such claim.
    """
    wanted = select(Claim).where(Claim.claim_id.in_(claim_ids)).order_by(Claim.claim_id)
    planned = select(Claim.reproduction_id).where(Claim.claim_id.in_(claim_ids), Claim.state == ClaimState.PLANNED)
    while True:
        with session.begin_nested() as locks:
            run_ids = set(session.scalars(planned))
            runs = select(Reproduction).where(Reproduction.reproduction_id.in_(run_ids))
            # In one order, as everybody who locks several rows.
            session.scalars(runs.order_by(Reproduction.reproduction_id).with_for_update(), execution_options=ANEW).all()
            found = session.scalars(wanted.with_for_update(), execution_options=ANEW)
            claims = {claim.claim_id: claim for claim in found}
            if all(claim.state != ClaimState.PLANNED or claim.reproduction_id in run_ids for claim in claims.values()):
                missing = [claim_id for claim_id in claim_ids if claim_id not in claims]
                if missing:
                    raise NoResultFound(f"no claim {missing[0]}")
                return [claims[claim_id] for claim_id in claim_ids]
            locks.rollback()
