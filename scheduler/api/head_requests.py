"""HEAD requests (RFC 9110, section 9.1): who answers GET answers them too, as the same request's GET less the body."""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class AnswersHead:
    """Asks the app behind it for a GET. The server leaves the body out, since its own request stays a HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", "state": {**scope.get("state", {}), "is_head": True}}
        await self._app(scope, receive, send)


def is_head(request: Request) -> bool:
    """Whether nobody will see the body: a large one need not be read."""
    return getattr(request.state, "is_head", False)
