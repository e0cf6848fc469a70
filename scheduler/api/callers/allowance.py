"""How much one caller may ask for.

Reads are counted in this process's memory: a count that all processes share would cost every poll a trip to Redis, more
than its answer takes. What acts is counted in Redis, for all processes together, and in memory while Redis is away.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter, RateLimiter

from scheduler.settings import Settings

Kind = Literal["reads", "actions", "sign_ins"]

SIGN_INS_PER_MINUTE = 30
"""Of one address: each one begun is a row until it runs out."""

REDIS_SECONDS = 1.0
"""Patience with Redis; then memory counts."""

REDIS_AGAIN_SECONDS = 30.0
"""Until Redis is tried again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Allowed:
    """What is left of an allowance."""

    granted: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until there is some again."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """For the answer (draft-ietf-httpapi-ratelimit-headers-07)."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]


class Allowances:
    """What callers have used, by kind and caller."""

    def __init__(self, settings: Settings) -> None:
        reads = settings.reads_per_minute
        self._items: dict[Kind, RateLimitItem | None] = {
            "reads": RateLimitItemPerMinute(reads) if reads else None,
            "actions": RateLimitItemPerHour(settings.actions_per_hour) if settings.actions_per_hour else None,
            "sign_ins": RateLimitItemPerMinute(SIGN_INS_PER_MINUTE),
        }
        self._memory = MemoryStorage()
        self._shared_in_memory = MovingWindowRateLimiter(self._memory)
        self._shared = _in_redis(settings.broker_url.get_secret_value())
        self._redis_from = 0.0

    def take(self, kind: Kind, who: str) -> Allowed | None:
        """Use one; None where nothing is limited. Waits for nothing."""
        item = self._items[kind]
        if item is None:
            return None
        # A fixed window, counted in one step: the library's own way asks the storage three times, and every poll pays.
        key = f"{kind}/{who}"
        used = self._memory.incr(key, item.get_expiry())
        reset_at = self._memory.get_expiry(key)
        return Allowed(used <= item.amount, item.amount, max(0, item.amount - used), _seconds_until(reset_at))

    def take_shared(self, kind: Kind, who: str) -> Allowed | None:
        """Use one that all API processes count together. Waits for Redis."""
        if self._shared is not None and time.monotonic() >= self._redis_from:
            try:
                return _take(self._shared, self._items[kind], kind, who)
            except StorageError as error:
                self._redis_from = time.monotonic() + REDIS_AGAIN_SECONDS
                log.warning("Redis does not count requests, memory does for now: %s", type(error).__name__)
        return _take(self._shared_in_memory, self._items[kind], kind, who)


def _take(limiter: RateLimiter, item: RateLimitItem | None, kind: Kind, who: str) -> Allowed | None:
    if item is None:
        return None
    granted = limiter.hit(item, kind, who)
    reset_at, remaining = limiter.get_window_stats(item, kind, who)
    return Allowed(granted, item.amount, max(0, remaining), _seconds_until(reset_at))


def _seconds_until(at: float) -> int:
    return max(1, int(at - time.time()) + 1)


def _in_redis(url: str) -> RateLimiter | None:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return None
    scheme = "redis+unix" if url.startswith("unix://") else url.partition("://")[0]
    options: dict[str, float | str | bool] = {
        "wrap_exceptions": True,
        "socket_timeout": REDIS_SECONDS,
        "socket_connect_timeout": REDIS_SECONDS,
        "key_prefix": "reprofarm-limits",
    }
    storage = storage_from_string(f"{scheme}://{url.partition('://')[2]}", **options)
    return MovingWindowRateLimiter(storage) if isinstance(storage, Storage) else None


def address_of(client: str, forwarded_for: list[str], proxies: int) -> str:
    """The address that a request counts for.

    Each proxy adds, on the right, the address that it saw. With `proxies` of them before the API, the one that the
    outermost saw is that many from the right; what stands further left came with the request and may be made up.
    An address of IPv6 counts as its network of 64 bits, of which one person has all.
    """
    if not proxies:
        return _counted_as(client) or client
    seen = [part.strip() for line in forwarded_for for part in line.split(",")]
    found = _counted_as(seen[-proxies]) if len(seen) >= proxies else None
    return found or _counted_as(client) or client


@lru_cache(maxsize=4096)
def _counted_as(text: str) -> str | None:
    """What an address counts as; None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(address), 128)).supernet(new_prefix=64))
    return str(address)
