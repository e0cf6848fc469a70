"""Hooks of a Hub client, against whatever the Hub answers: no long sleep, and no token for anybody else.

huggingface_hub (2.4) sleeps for as long as a 429 asks for, years included, and sends the token to whatever address a
list names as its next part. These are hooks for its HTTP client, and say nothing of which library that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from specs.errors import HubAway

LONGEST_SECONDS = 86_400.0
"""Of patience that anybody gets: a day."""

SLEPT_SECONDS = 60.0
"""What the client may sleep through by itself; longer waits are for who can do something else meanwhile."""

_BUSY = (429, 503)
# huggingface_hub's own reading of the header (`parse_ratelimit_headers`), as far as it is slept by.
_RATE_LIMIT = re.compile(r"r\s*=\s*0+\s*;\s*t\s*=\s*([0-9]+)")
_PORTS = {"https": 443, "http": 80}


class _Request(Protocol):
    @property
    def url(self) -> Any: ...  # a URL of the library's own

    @property
    def headers(self) -> MutableMapping[str, str]: ...


class _Answer(Protocol):
    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


def seconds_asked(headers: Mapping[str, str]) -> float | None:
    """How long the Hub asks to wait; None where it does not say. A day at most.

    By `Retry-After` (RFC 9110, section 10.2.3; the form with a date is not used there), else by `RateLimit` where
    nothing is left of it.
    """
    asked = headers.get("retry-after", "").strip()
    if not (asked.isascii() and asked.isdigit()):
        found = _RATE_LIMIT.search(headers.get("ratelimit", ""))
        if found is None:
            return None
        asked = found[1]
    return min(float(asked[:12]), LONGEST_SECONDS)


def refuse_long_waits(answer: _Answer) -> None:
    """A response hook.

    Raises:
        HubAway: the Hub asks for more patience than a client sleeps through.
    """
    asked = seconds_asked(answer.headers) if answer.status_code in _BUSY else None
    if asked is not None and asked > SLEPT_SECONDS:
        raise HubAway(f"the Hub answered {answer.status_code} and asks to wait for {asked:.0f} s", asked)


def keeping_token(endpoint: str) -> Callable[[_Request], None]:
    """A request hook that takes the token off what goes elsewhere than to the Hub at `endpoint`."""
    home = _origin(endpoint)

    def keep(request: _Request) -> None:
        if _origin(str(request.url)) != home:
            request.headers.pop("authorization", None)

    return keep


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
