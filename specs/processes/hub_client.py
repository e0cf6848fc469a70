"""huggingface_hub's client as the farm has it: it waits for no one too long, and keeps the token, and TLS, to the Hub.

What it is answered is bounded; specs/processes/bounded_answers.py says by what.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx2
from huggingface_hub.utils._http import default_client_factory

from specs.processes.bounded_answers import bound_answer, bound_request
from specs.processes.hub_client_hooks import keeping_token, leave_open, refuse_long_waits, staying_on_tls, waiting


def hub_client(
    endpoint: str, seconds: float, *, bounded_below: str = "", hear: Callable[[httpx2.Response], None] | None = None
) -> httpx2.Client:
    """One for the whole process.

    `seconds` is the patience with a Hub that says nothing. Bounded is what is asked of addresses that begin with
    `bounded_below`: of all, if nothing is said. `hear` is told of every answer.
    """

    def ask(request: httpx2.Request) -> None:
        if str(request.url).startswith(bounded_below):
            bound_request(request)

    def bound(answer: httpx2.Response) -> None:
        if str(answer.request.url).startswith(bounded_below):
            bound_answer(answer)

    client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], staying_on_tls(endpoint), keeping_token(endpoint), waiting(seconds), ask],
        "response": [*hooks["response"], *([hear] if hear is not None else []), refuse_long_waits, bound],
    }
    leave_open(client)
    return client
