"""Reproductions whose lease is over: nobody said in time that they are worked at, or wait in a queue."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, true
from sqlalchemy.orm import Session

from scheduler.database.tables import Reproduction, now
from scheduler.state_machine import ReproductionState

REAPED_AT_ONCE = 500
"""Reproductions of one kind that one transaction sets right; the rest has its turn a heartbeat later."""


def overdue(session: Session, state: ReproductionState, batches: Collection[str] | None = None) -> list[Reproduction]:
    """Those of a state, or of some batches in it, longest overdue first; locked. Left out: what another looks at."""
    return list(
        session.scalars(
            select(Reproduction)
            .where(
                Reproduction.state == state,
                Reproduction.lease_until < now(),
                Reproduction.batch_id.in_(batches) if batches is not None else true(),
            )
            .order_by(Reproduction.lease_until)
            .limit(REAPED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
    )
