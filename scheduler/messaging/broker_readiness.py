"""Whether the broker can be worked with; None, or what is wrong, without words that hold secrets.

By itself, for a probe that starts a process each time and for commands that need the database alone: either takes long
to import.
"""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

BROKER_SECONDS = 2.0
"""A probe has to answer before whoever asks gives up."""


def trouble_with_broker(url: str) -> str | None:
    """It does not answer."""
    try:
        with Redis.from_url(url, socket_connect_timeout=BROKER_SECONDS, socket_timeout=BROKER_SECONDS) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"does not answer ({type(error).__name__})"
    return None
