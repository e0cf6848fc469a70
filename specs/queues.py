"""Names of queues, for those who need no more of the messages than that."""

from __future__ import annotations

import hashlib
import re
from typing import Literal, get_args

CONTROL_QUEUE = "control"
REFUSED = "reprofarm.refused"
"""A list in Redis: the latest of what was taken from queues and was no message of this farm's."""

REFUSED_COUNT = "reprofarm.refused.count"
"""A hash in Redis: how much of it there was, by `QueueKind`, since the control plane last looked."""

QueueKind = Literal["control", "pool", "other"]
QUEUE_KINDS: tuple[QueueKind, ...] = get_args(QueueKind)
_OWN = re.compile(r"pool\.[a-z0-9-]{1,41}\.[0-9a-f]{12}")


def pool_queue(pool: str) -> str:
    """The Celery queue that all workers of a pool consume."""
    return f"pool.{pool}"


def own_queue(pool: str, worker: str) -> str:
    """The Celery queue that one worker of a pool consumes besides, and before the pool's.

    A worker's name is its own choice, so a digest stands for it. Should two ever have the same one, each runs what was
    meant for the other, which costs an engine load and nothing else.
    """
    return f"{pool_queue(pool)}.{hashlib.sha256(worker.encode()).hexdigest()[:12]}"


def is_own_queue(name: str) -> bool:
    """Whether that may be the name of a single worker's queue."""
    return _OWN.fullmatch(name) is not None


def kind_of(queue: str) -> QueueKind:
    """What a queue is for; other is what lies in none, such as a command."""
    if queue == CONTROL_QUEUE:
        return "control"
    return "pool" if queue.startswith("pool.") else "other"
