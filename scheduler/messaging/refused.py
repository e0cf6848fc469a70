"""Counts what was refused, as no message of this farm's: specs/processes/careful_transport.py."""

from __future__ import annotations

import logging

from celery import Celery
from redis.exceptions import RedisError
from sqlalchemy import update

from scheduler.database.session import Database
from scheduler.database.tables import Refused
from scheduler.messaging.broker import take_refused
from specs.queues import QUEUE_KINDS

log = logging.getLogger(__name__)


def count_refused(app: Celery, database: Database) -> None:
    """Move what processes have counted in Redis, which forgets, to the database.

    It is a figure: where the database is away just then, so many are missing from it.
    """
    try:
        found = take_refused(app)
    except (RedisError, OSError) as error:
        log.warning("refused messages are counted later: %s", error)
        return
    if found:
        with database.transaction() as session:
            # In one order, as everybody who locks several.
            for queue in QUEUE_KINDS:
                if number := found.get(queue):
                    session.execute(
                        update(Refused).where(Refused.queue == queue).values(number=Refused.number + number)
                    )
