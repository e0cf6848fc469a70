"""Counts what was refused, as no message of this farm's: specs/processes/careful_transport.py."""

from __future__ import annotations

from celery import Celery
from sqlalchemy import update

from scheduler.database.session import Database
from scheduler.database.tables import Refused
from scheduler.messaging.broker import take_refused
from specs.queues import QUEUE_KINDS


def count_refused(app: Celery, database: Database) -> None:
    """Move what processes have counted in Redis, which forgets, to the database.

    It is a figure: where the database is away just then, so many are missing from it.
    """
    found = take_refused(app)
    if found:
        with database.transaction() as session:
            # In one order, as everybody who locks several.
            for queue in QUEUE_KINDS:
                if number := found.get(queue):
                    session.execute(
                        update(Refused).where(Refused.queue == queue).values(number=Refused.number + number)
                    )
