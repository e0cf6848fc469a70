"""What the control plane asks of the broker. Redis only carries: nothing here is the truth."""

from __future__ import annotations

import json
from typing import Any

from celery import Celery
from redis import Redis

from scheduler.collecting import Stale
from specs.messages import DROP_ATTEMPT

MAX_QUEUED = 10_000
"""Messages of one queue that are looked at; the farm keeps far fewer there."""


def send(app: Celery, *, task: str, queue: str, message_id: str, body: dict[str, Any]) -> None:
    """Hand a message to the broker; raises where it did not take it."""
    app.send_task(task, args=[body], queue=queue, task_id=message_id, retry=False)


def queued_ids(app: Celery, queue: str) -> set[str]:
    """The ids of the messages that wait in a queue: a Redis list of kombu's envelopes, under the queue's name."""
    with Redis.from_url(app.conf.broker_url) as redis:
        envelopes: Any = redis.lrange(queue, 0, MAX_QUEUED - 1)
    return {found for envelope in envelopes if (found := _id_in(envelope)) is not None}


def _id_in(envelope: bytes) -> str | None:
    # Whoever has the broker's password can put anything there, which must not stop the reaper.
    try:
        return str(json.loads(envelope)["headers"]["id"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def tell_to_drop(app: Celery, stale: Stale) -> None:
    """Tell a worker to stop an attempt that no longer counts. It hears it again at its next heartbeat, if not now."""
    app.control.broadcast(
        DROP_ATTEMPT,
        arguments={"reproduction_id": stale.ref.reproduction_id, "attempt": stale.ref.attempt},
        destination=[stale.worker],
        reply=False,
    )
