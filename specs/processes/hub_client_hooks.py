"""Hooks of a Hub client, against whatever the Hub answers: no long sleep, no token for anybody else, no way off TLS.

huggingface_hub (2.4) sleeps for as long as a 429 asks for, years included, sends the token to whatever address a list
names as its next part, follows redirects from https to http, and waits without end for a Hub that says nothing. These
are hooks for its HTTP client.

It has one client for a process, and closes that where one request could not connect (`http_backoff`), or another client
is to be made: under the others that are in the middle of their answers, in whatever thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import httpx2

from specs.errors import HubAway, HubBusy
from specs.text import clean

LONGEST_SECONDS = 86_400.0
"""Of patience that anybody gets: a day."""

SLEPT_SECONDS = 60.0
"""What the client may sleep through by itself; longer waits are for who can do something else meanwhile."""

_BUSY = (httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE)
# huggingface_hub's own reading of the header (`parse_ratelimit_headers`), as far as it is slept by.
_RATE_LIMIT = re.compile(r"r\s*=\s*0+\s*;\s*t\s*=\s*([0-9]+)")


def refuses_token(answer: httpx2.Response) -> bool:
    """Whether the Hub refuses the token that it was shown, and so says nothing of what was asked for.

    Of what is not there it says 404 to whoever is logged in, and 401 to others. huggingface_hub takes most 401s for a
    repo that is not there (`hf_raise_for_status`, 2.4), which every repo would be once a token has run out.
    """
    return answer.status_code == httpx2.codes.UNAUTHORIZED and "authorization" in answer.request.headers


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


def refuse_long_waits(answer: httpx2.Response) -> None:
    """A response hook.

    Raises:
        HubAway: the Hub asks for more patience than a client sleeps through.
    """
    asked = seconds_asked(answer.headers) if answer.status_code in _BUSY else None
    if asked is not None and asked > SLEPT_SECONDS:
        kind = HubBusy if answer.status_code == httpx2.codes.TOO_MANY_REQUESTS else HubAway
        raise kind(f"the Hub answered {answer.status_code} and asks to wait for {asked:.0f} s", asked)


def waiting(seconds: float) -> Callable[[httpx2.Request], None]:
    """A request hook: nobody waits for longer for a Hub that says nothing, where the client itself sets no limit."""

    def limit(request: httpx2.Request) -> None:
        given: Mapping[str, float | None] = request.extensions.get("timeout") or {}
        asked = {name: given.get(name) for name in ("connect", "read", "write", "pool")}
        request.extensions["timeout"] = {name: seconds if value is None else value for name, value in asked.items()}

    return limit


def staying_on_tls(endpoint: str) -> Callable[[httpx2.Request], None]:
    """A request hook: from a Hub that is reached over TLS nobody is led to what is not, which others read and change.

    The hook raises:
        HubAway: a redirect, or the next part of a list, leads there.
    """
    over_tls = httpx2.URL(endpoint).scheme == "https"

    def stay(request: httpx2.Request) -> None:
        if over_tls and request.url.scheme != "https":
            raise HubAway(f"the Hub leads to {clean(request.url.host, 200)} without TLS")

    return stay


def keeping_token(endpoint: str) -> Callable[[httpx2.Request], None]:
    """A request hook that takes the token off what goes elsewhere than to the Hub at `endpoint`."""
    home = _origin(httpx2.URL(endpoint))

    def keep(request: httpx2.Request) -> None:
        if _origin(request.url) != home:
            request.headers.pop("authorization", None)

    return keep


def leave_open(client: httpx2.Client) -> None:
    """Have nobody close a client under those who use it: its connections go with the last of them."""
    vars(client)["close"] = _nothing


def _nothing() -> None:
    pass


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    # Its own `origin` is for whole addresses: an endpoint that is none is for the first question to find.
    return url.scheme, url.host, url.port
