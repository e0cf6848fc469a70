"""Runs that their pool did not take in time: it has no workers, too few, or left the policy."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import or_, select

from scheduler.collect.ending import give_up
from scheduler.collect.waiting_claims import waiting_for_each
from scheduler.database.session import Database
from scheduler.database.tables import Reproduction, now
from scheduler.reaping.overdue import REAPED_AT_ONCE
from scheduler.state_machine import ReproductionState
from specs.policy.rules import Policy


def give_up_never_taken(database: Database, policy: Policy) -> int:
    """Give up on what has been queued for longer than `queue_seconds`; returns how many.

    Not on what could not be sent to any: that waits for the operator, as long as its pool is looked at again.
    """
    patience = timedelta(seconds=policy.run.queue_seconds)
    pools = {pool.name for pool in policy.pools}
    with database.transaction() as session:
        late = session.scalars(
            select(Reproduction)
            .where(
                Reproduction.state == ReproductionState.QUEUED,
                Reproduction.since < now() - patience,
                or_(~Reproduction.set_aside, Reproduction.pool.not_in(pools)),
            )
            .order_by(Reproduction.since)
            .limit(REAPED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        # All at once and in their order: a scan of their model may lock some of them too.
        waiting_for_each(session, [reproduction.reproduction_id for reproduction in late])
        for reproduction in late:
            gone = "" if reproduction.pool in pools else ", which is not in the farm's policy any more,"
            why = f"no worker of pool {reproduction.pool}{gone} took it within {policy.run.queue_seconds:.0f} s"
            give_up(session, reproduction, f"{why}; the farm's operator must act")
        return len(late)
