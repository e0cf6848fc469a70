"""What the control plane asks of the broker. Redis only carries: nothing here is the truth."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from celery import Celery
from redis import Redis, ResponseError

from specs.messages import DROP_ATTEMPT, FETCH_AHEAD, AttemptRef, FetchAhead
from specs.processes.connections import BROKER
from specs.queues import QUEUE_KINDS, REFUSED_COUNT, is_own_queue

MAX_QUEUED = 10_000
"""Messages of one queue that are looked at; the farm keeps far fewer there."""

MAX_DIGITS = 9
"""Of a count of refused messages in Redis."""

# As kombu 5.7 names its notes: kombu/transport/redis.py.
_BINDING = "_kombu.binding."
_PERMANENT_BINDING = "_kombu.binding_permanent."


def send(app: Celery, *, task: str, queue: str, message_id: str, body: dict[str, Any]) -> None:
    """Hand a message to the broker; raises where it did not take it."""
    app.send_task(task, args=[body], queue=queue, task_id=message_id, retry=False)


def queued_ids(app: Celery, queue: str) -> set[str]:
    """The ids of the messages that wait in a queue: a Redis list of kombu's envelopes, under the queue's name."""
    with _redis(app) as redis:
        envelopes = _waiting(redis, queue)
    return {found for envelope in envelopes if (found := _id_in(envelope)) is not None}


def withdraw(app: Celery, queue: str, message_id: str) -> bool:
    """Take a message out of a queue; whether it was still there. A worker gets it, or this does, and never both."""
    with _redis(app) as redis:
        mine = (envelope for envelope in _waiting(redis, queue) if _id_in(envelope) == message_id)
        return any(redis.lrem(queue, 1, envelope) for envelope in mine)


def own_queues(app: Celery) -> set[str]:
    """Queues of single workers of which the broker knows: kombu leaves a note for each that ever was."""
    with _redis(app) as redis:
        names = (key.decode(errors="replace").removeprefix(_BINDING) for key in redis.scan_iter(f"{_BINDING}pool.*"))
        return {name for name in names if is_own_queue(name)}


def forget_queues(app: Celery, queues: Collection[str]) -> None:
    """Leave nothing of these in the broker. A worker that still consumes one of them goes on."""
    with _redis(app) as redis:
        for queue in queues:
            redis.delete(queue, f"{_BINDING}{queue}", f"{_PERMANENT_BINDING}{queue}")


def take_refused(app: Celery) -> dict[str, int]:
    """How many messages were refused since this was last asked, by what their queue is for."""
    with _redis(app) as redis, redis.pipeline() as pipe:
        try:
            counts: Any = pipe.hgetall(REFUSED_COUNT).delete(REFUSED_COUNT).execute()[0]
        except ResponseError:
            # Of another type. What was to be deleted is.
            return {}
    return {
        queue: int(number)
        for queue in QUEUE_KINDS
        # Whoever has the broker's password can write there too.
        if (number := counts.get(queue.encode(), b"")).isdigit() and len(number) <= MAX_DIGITS
    }


def _waiting(redis: Redis, queue: str) -> list[bytes]:
    try:
        found: Any = redis.lrange(queue, 0, MAX_QUEUED - 1)
    except ResponseError:
        # Nothing waits under what is no list. Whoever consumes that queue, or sends to it, sets it right.
        return []
    return list(found)


def _redis(app: Celery) -> Redis:
    return Redis.from_url(app.conf.broker_url, **BROKER)


def _id_in(envelope: bytes) -> str | None:
    # Whoever has the broker's password can put anything there, which must not stop the reaper.
    try:
        return str(json.loads(envelope)["headers"]["id"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def tell_to_fetch(app: Celery, worker: str, hint: FetchAhead) -> None:
    """Tell a worker what it is likely to need next."""
    app.control.broadcast(FETCH_AHEAD, arguments={"hint": hint.encode()}, destination=[worker], reply=False)


def tell_to_drop(app: Celery, worker: str, ref: AttemptRef, batch_id: str) -> None:
    """Tell a worker to stop an attempt that no longer counts. It hears it again at its next heartbeat, if not now."""
    app.control.broadcast(
        DROP_ATTEMPT,
        arguments={"reproduction_id": ref.reproduction_id, "attempt": ref.attempt, "batch_id": batch_id},
        destination=[worker],
        reply=False,
    )
