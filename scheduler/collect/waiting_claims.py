"""The claims that wait for what becomes of a reproduction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Claim
from scheduler.state_machine import ClaimState


def waiting_for(session: Session, reproduction_id: str) -> Sequence[Claim]:
    """Those of a reproduction that the caller holds locked, locked too: one that is withdrawn meanwhile stays so."""
    return waiting_for_each(session, [reproduction_id])[reproduction_id]


def waiting_for_each(session: Session, reproduction_ids: Collection[str]) -> dict[str, list[Claim]]:
    """The same of several."""
    found: dict[str, list[Claim]] = {each: [] for each in reproduction_ids}
    for claim in session.scalars(_WAITING, {"ids": list(found)}) if found else ():
        if claim.reproduction_id is not None:
            found[claim.reproduction_id].append(claim)
    return found


_WAITING = (
    select(Claim)
    .where(Claim.reproduction_id.in_(bindparam("ids", expanding=True)), Claim.state == ClaimState.PLANNED)
    # In one order, as everybody who locks several rows.
    .order_by(Claim.claim_id)
    .with_for_update()
    .execution_options(populate_existing=True)
)
"""Made once: every report asks it."""
