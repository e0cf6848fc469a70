"""What stands before a farm's API and fails as proxies and restarts do: real HTTP on a port that stays the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Literal

import httpx2

from deploy.serving import QuietHandler

Fault = Literal["bad_gateway", "unavailable", "cut"]


class Front:
    """Passes requests on, each as the next of `faults` says as long as there are any."""

    def __init__(self, api: str) -> None:
        self.faults: list[Fault] = []
        self.passed = 0
        self.missed = 0
        """Looks that came to nothing, for who looks to count: of those that nobody takes nothing is known here."""
        self._api = api
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it answers, or refuses connections while it is away."""
        return f"http://127.0.0.1:{self._port}"

    def come(self) -> None:
        """Take connections."""
        front = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                front._answer(self)

            do_POST = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def go(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: QuietHandler) -> None:
        if self.faults:
            self._fail(request, self.faults.pop(0))
            return
        body = request.body()
        kept = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        answer = httpx2.request(request.command, self._api + request.path, content=body, headers=kept, timeout=60)
        self.passed += 1
        self._say(request, answer.status_code, answer.content, answer.headers.get("content-type", ""))

    def _fail(self, request: QuietHandler, fault: Fault) -> None:
        if fault == "cut":
            self._say(request, 200, b'{"items": [', "application/json", promised=1000)
        else:
            self._say(request, 502 if fault == "bad_gateway" else 503, b"<h1>a moment</h1>", "text/html")

    def _say(self, request: QuietHandler, status: int, body: bytes, kind: str, promised: int | None = None) -> None:
        request.send_response(status)
        request.send_header("content-type", kind)
        request.send_header("content-length", str(len(body) if promised is None else promised))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def front_of(api: str) -> Iterator[Front]:
    """One that is there, until the block ends."""
    front = Front(api)
    front.come()
    try:
        yield front
    finally:
        front.go()
