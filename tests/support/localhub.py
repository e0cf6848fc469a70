"""A live local Hub for tests: `with running_hub(folder) as hub: HfApi(endpoint=hub.url)`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.localhub.api.app import create_app
from deploy.localhub.hub import LocalHub
from deploy.localhub.server import bind
from specs.processes.hub_client_hooks import leave_open
from tests.support.served_app import served_app


@dataclass(frozen=True)
class RunningHub:
    """A Hub that answers at `url`; `local` changes its folder directly, in the same process."""

    url: str
    local: LocalHub
    requests: list[str]
    """Method and path of each request so far."""

    refused: set[str] = field(default_factory=set)
    """Method and path of what nobody may do, as in a thread that is locked."""


@contextmanager
def running_hub(folder: Path) -> Iterator[RunningHub]:
    """Serve the folder on a free port, in a thread, until the block ends."""
    # A farm's client keeps its process to the farm's Hub, and sends no token elsewhere. That was an earlier test's.
    set_client_factory(_client)
    listener, url = bind("127.0.0.1", 0)
    app = create_app(folder, url)
    found = RunningHub(url, app.state.hub, [])

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = app
        if scope["type"] == "http":
            asked = f"{scope['method']} {scope['path']}"
            found.requests.append(asked)
            if asked in found.refused:
                answer = JSONResponse({"error": "You may not do that"}, 403)
        await answer(scope, receive, send)

    with served_app(counted, listener, grace_seconds=5):
        yield found


def _client() -> httpx2.Client:
    client = default_client_factory()
    # What an earlier test left in the middle of its tries would have it closed.
    leave_open(client)
    return client
