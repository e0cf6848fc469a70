"""What a control worker gives to the broker and takes out of it."""

from __future__ import annotations

import logging

from celery import Task
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from scheduler.control_worker import process
from scheduler.dispatch import dispatcher
from scheduler.dispatch.coalesced import Coalesced
from scheduler.messaging import broker, outbox
from specs.messages import CONTROL_QUEUE

log = logging.getLogger(__name__)


def at_once(task: Task[[], None]) -> None:
    """Have a periodic task follow now, by whichever thread is free first: what appeared does not wait for the clock."""
    try:
        task.apply_async(queue=CONTROL_QUEUE)
    except (KombuError, RedisError, OSError) as error:
        log.warning("%s comes with the clock: %s", task.name, error)


def queued_ids(queue: str) -> set[str]:
    """The ids of the messages that wait in a queue."""
    return broker.queued_ids(process.app, queue)


def withdraw(queue: str, message_id: str) -> bool:
    """Take a message out of a queue; whether it was still there."""
    return broker.withdraw(process.app, queue, message_id)


def _fill_and_relay() -> None:
    farm = process.farm()
    dispatcher.dispatch(farm.database, farm.policy, _relay)
    _relay()


def _relay() -> None:
    outbox.relay(process.farm().database, lambda **message: broker.send(process.app, **message))


send_out = Coalesced(_fill_and_relay)
"""Fill the pools' queues, and send what waits in the outbox."""


def send_out_if_possible() -> None:
    """After a message that was taken in: it is not to be taken in again because what follows failed."""
    try:
        send_out()
    except (SQLAlchemyError, KombuError, RedisError, OSError) as error:
        log.warning("nothing sent out until the next look for work: %s", error)
