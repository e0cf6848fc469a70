"""A Hub that refuses: for tests of what a worker makes of that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deploy.serving import QuietHandler, answered_by
from tests.support.small_repos import COMMIT


@contextmanager
def hub_that_says(status: int, files: Mapping[str, int] | None = None, **headers: str) -> Iterator[str]:
    """Its URL. It answers everything with a status; given `files` (sizes by name), it lists them before it refuses."""
    repo = {
        "id": "org/model",
        "sha": COMMIT,
        "siblings": [{"rfilename": name, "size": size} for name, size in (files or {}).items()],
    }

    tree = [{"type": "file", "path": name, "size": size, "oid": COMMIT} for name, size in (files or {}).items()]

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            listed = files is not None and self.path.startswith("/api/")
            content = json.dumps(tree if "/tree/" in self.path else repo).encode() if listed else b""
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self.answer(200 if listed else status, content, headers=named)

        def do_HEAD(self) -> None:
            self.do_GET()

    with answered_by(Handler) as url:
        yield url
