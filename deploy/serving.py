"""A small HTTP server in a thread, for what a bench or a test answers by itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class QuietHandler(BaseHTTPRequestHandler):
    """A request; nothing is said of it."""

    # The second packet of an answer would wait for the client to acknowledge the first: 40 ms.
    disable_nagle_algorithm = True

    def body(self) -> bytes:
        """What came with it."""
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def answer(
        self,
        status: int,
        content: bytes = b"",
        content_type: str = "application/json",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """Answer it whole."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what is wrong with a handler; that who asked has gone meanwhile is not."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def answered_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Have requests handled on a free port of this machine until the block ends; yields the address."""
    server = _Server(("127.0.0.1", 0), handler)
    # How often it looks whether it is to end, in seconds; by default every half.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="serving", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
