"""Runs that no claim waits for any more."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists, select

from scheduler.collect.ending import close
from scheduler.database.session import Database
from scheduler.database.tables import Claim, Reproduction
from scheduler.planning.begun_again import goes_to_its_end
from scheduler.reaping.overdue import REAPED_AT_ONCE
from scheduler.record import move_reproduction
from scheduler.state_machine import ACTIVE, ClaimState, ReproductionState
from specs.messages import AttemptOutcome


def cancel_unneeded(database: Database) -> int:
    """Cancel them; returns how many. A worker that runs one is told at its next heartbeat.

    But for those that were cancelled under way once: their claims may be gone because of how they go.
    """
    with database.transaction() as session:
        idle = session.scalars(
            select(Reproduction)
            .where(Reproduction.state.in_(ACTIVE), ~_is_waited_for(), ~goes_to_its_end())
            .order_by(Reproduction.created_at)
            .limit(REAPED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        if not idle:
            return 0
        # Asked once more, now that nobody can join them: a claim that did while they were looked for was not seen.
        names = [reproduction.reproduction_id for reproduction in idle]
        joined = set(
            session.scalars(
                select(Reproduction.reproduction_id).where(Reproduction.reproduction_id.in_(names), _is_waited_for())
            )
        )
        idle = [reproduction for reproduction in idle if reproduction.reproduction_id not in joined]
        for reproduction in idle:
            why = "no claim waits for it any more"
            if reproduction.state != ReproductionState.QUEUED:
                close(session, reproduction, AttemptOutcome.CANCELLED, why)
            move_reproduction(session, reproduction, ReproductionState.CANCELLED, why)
        return len(idle)


def _is_waited_for() -> ColumnElement[bool]:
    return exists().where(Claim.reproduction_id == Reproduction.reproduction_id, Claim.state == ClaimState.PLANNED)
