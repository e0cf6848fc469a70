"""huggingface_hub's client as a worker has it: it waits for no one too long, and keeps the token, and TLS, to the Hub.

What it asks of the Hub's API is bounded as the control plane has it (specs/hub/bounded_answers.py). Files are not: they
have the sizes that the API says, for which there is room.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
from huggingface_hub.utils._http import default_client_factory

from specs.hub.bounded_answers import bound_request, bounded, refuse_packed
from specs.hub.client_hooks import keeping_token, leave_open, refuse_long_waits, staying_on_tls, waiting

HUB_SECONDS = 30.0
"""The patience with a Hub that says nothing."""


def hub_client(endpoint: str) -> httpx2.Client:
    """One for the whole process."""
    api = f"{endpoint.rstrip('/')}/api/"

    def ask(request: httpx2.Request) -> None:
        if str(request.url).startswith(api):
            bound_request(request)

    def bound(answer: httpx2.Response) -> None:
        if str(answer.request.url).startswith(api) and isinstance(answer.stream, httpx2.SyncByteStream):
            refuse_packed(answer.headers)
            answer.stream = _Bounded(answer.stream)

    client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [
            *hooks["request"],
            staying_on_tls(endpoint),
            keeping_token(endpoint),
            waiting(HUB_SECONDS),
            ask,
        ],
        "response": [*hooks["response"], refuse_long_waits, bound],
    }
    leave_open(client)
    return client


class _Bounded(httpx2.SyncByteStream):
    """A body that ends in an error where it goes on for too long."""

    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        return bounded(self._inner)

    def close(self) -> None:
        self._inner.close()
