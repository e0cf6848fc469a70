"""Until when a word is worth hearing, by a clock that is not this machine's alone.

Celery writes the time at which a message expires into it, by the sender's clock, and whoever takes it looks at his own.
A worker whose clock is slow by more than a word's life would never be heard, and each of its runs be taken for lost.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def expiry(connection: Any, seconds: float) -> datetime:
    """The time after so many seconds, by Redis' clock or this machine's, whichever is ahead.

    What expires late costs whoever takes it a moment; what expires early is lost.
    """
    # kombu's only way to ask.
    with connection.default_channel.conn_or_acquire() as client:
        there, microseconds = client.time()
    at = datetime.fromtimestamp(there, UTC) + timedelta(microseconds=microseconds)
    return max(at, datetime.now(UTC)) + timedelta(seconds=seconds)
