"""How many requests the Hub will still answer, as it says with each answer.

The headers are `RateLimit` and `RateLimit-Policy` of the IETF's draft
(https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-09.html), read by huggingface_hub's own parser.
The limit is one of the farm's account (of its address, without a token), whichever process asks; a row keeps the last
word.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from huggingface_hub.utils._http import parse_ratelimit_headers

from scheduler.database.session import Database
from scheduler.database.tables import HubLimit, now

RESOURCES = ("api", "resolvers", "pages")
"""Kinds of requests that the Hub counts by themselves (https://huggingface.co/docs/hub/rate-limits)."""

OTHER = "other"
MOST_REQUESTS = 2**31 - 1
LONGEST_WINDOW = timedelta(days=1)
NOTED_EVERY = timedelta(seconds=10)


class HubLimits:
    """The last word of each kind that this process has heard, for whoever writes it down."""

    def __init__(self) -> None:
        self._heard: dict[str, HubLimit] = {}
        self._noted_at: datetime | None = None
        self._turn = threading.Lock()

    def hear(self, headers: Mapping[str, str]) -> None:
        """Take what an answer of the Hub says, if it says anything."""
        limit = read_limit(headers, now())
        if limit is not None:
            with self._turn:
                self._heard[limit.resource] = limit

    def note(self, database: Database) -> None:
        """Write down what was heard since the last time, and not every few milliseconds."""
        at = now()
        with self._turn:
            if not self._heard or (self._noted_at is not None and at - self._noted_at < NOTED_EVERY):
                return
            heard, self._heard, self._noted_at = self._heard, {}, at
        with database.transaction() as session:
            # In one order, as everybody who locks several rows.
            for limit in sorted(heard.values(), key=lambda each: each.resource):
                session.merge(limit)


def read_limit(headers: Mapping[str, str], at: datetime) -> HubLimit | None:
    """What an answer's headers say; None where they say nothing that makes sense."""
    found = parse_ratelimit_headers(headers)
    if found is None or found.remaining > MOST_REQUESTS or found.reset_in_seconds > LONGEST_WINDOW.total_seconds():
        return None
    return HubLimit(
        resource=found.resource_type if found.resource_type in RESOURCES else OTHER,
        remaining=found.remaining,
        quota=found.limit if found.limit is not None and found.limit <= MOST_REQUESTS else None,
        resets_at=at + timedelta(seconds=found.reset_in_seconds),
        seen_at=at,
    )
