"""The control plane was away, or its broker or database: what was not heard meanwhile is not lost for that."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from scheduler.collect import workforce
from scheduler.database.session import Database
from scheduler.database.tables import Marker, Reproduction, now
from scheduler.database.tables.marker import REAPER_LOOKED
from scheduler.state_machine import IN_FLIGHT
from specs.policy.run import RunRules


def patience(run: RunRules) -> timedelta:
    """After the reaper looked, in which it is not taken for absent."""
    # No more for clocks that differ: a lease that is no longer renewed would be over before it is granted anew. So
    # reapers whose clocks are ten seconds apart may find one another absent, and a killed worker late.
    return timedelta(seconds=max(run.lease_seconds / 2, 3 * run.heartbeat_seconds))


def grant_time(database: Database, run: RunRules) -> None:
    """Where nobody looked for a while, nobody listened either: give workers a lease's time to say that they work.

    Their heartbeats still lie in the queue, or were lost with the broker. To take them for dead would start every run
    of the farm over whenever the control plane, the broker or the database was away for longer than a lease. So it is
    with what they took meanwhile, of which nobody has heard yet: also from their own queues, from which all is taken
    back of a worker that is lost.
    """
    try:
        with database.transaction() as session:
            last = session.get(Marker, REAPER_LOOKED, with_for_update=True)
            if last is None:
                session.add(Marker(name=REAPER_LOOKED, at=now()))
                return
            if last.at < now() - patience(run):
                # In the order of their ids, as everybody who locks several: heartbeats come in meanwhile.
                sent_out = Reproduction.state.in_(IN_FLIGHT)
                locked = select(Reproduction.reproduction_id).where(sent_out).order_by(Reproduction.reproduction_id)
                session.execute(locked.with_for_update())
                until = now() + timedelta(seconds=run.lease_seconds)
                # None is cut short: it may be of a batch whose worker was told to speak more seldom.
                shorter = or_(Reproduction.lease_until.is_(None), Reproduction.lease_until < until)
                session.execute(update(Reproduction).where(sent_out, shorter).values(lease_until=until))
                workforce.grant_time(session, until)
            last.at = now()
    except IntegrityError:
        # Another reaper of a new farm was first.
        return
