"""A Hub that refuses: for tests of what a worker makes of that."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = files is not None and self.path.startswith("/api/")
            content = json.dumps(tree if "/tree/" in self.path else repo).encode() if listed else b""
            self.send_response(200 if listed else status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
