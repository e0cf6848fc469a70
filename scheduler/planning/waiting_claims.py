"""The claims that wait for what becomes of a reproduction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Claim
from scheduler.machine import ClaimState


def waiting_for(session: Session, reproduction_id: str) -> Sequence[Claim]:
    """Those of a reproduction that the caller holds locked, locked too: one that is withdrawn meanwhile stays so."""
    return session.scalars(_WAITING, {"reproduction_id": reproduction_id}).all()


_WAITING = (
    select(Claim)
    .where(Claim.reproduction_id == bindparam("reproduction_id"), Claim.state == ClaimState.PLANNED)
    # In one order, as everybody who locks several rows.
    .order_by(Claim.claim_id)
    .with_for_update()
    .execution_options(populate_existing=True)
)
"""Made once: every report asks it."""
