"""The dashboard's own files: styles, scripts, fonts, pictures."""

from __future__ import annotations

from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

from scheduler.dashboard.pages import STATIC


class OurFiles(StaticFiles):
    """Files under `static/`, asked for anew each time unless their address says what is in them."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC, follow_symlink=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, with how long it may be kept."""
        response = await super().get_response(path, scope)
        named_by_content = scope["query_string"].startswith(b"v=")
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if named_by_content else "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        # Nothing here is a page; what is opened as one may do nothing.
        response.headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response
