"""What lies between the control plane and the Hub: it can keep the answer to a commit until it is told to let go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import httpx2

from deploy.serving import QuietHandler

NOT_PASSED_ON = (
    "transfer-encoding",
    "content-encoding",
    "content-length",
    "connection",
    "keep-alive",
    "date",
    "server",
)


class SlowNetwork(ThreadingHTTPServer):
    """Passes requests on to the Hub and answers back."""

    daemon_threads = True

    def __init__(self, hub_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.hub_url = hub_url
        self.http = httpx2.Client(base_url=hub_url, timeout=120, trust_env=False)
        self.holds_commits = False
        """Whether the next answers to commits are kept."""

        self.holding = threading.Event()
        """Set once the Hub has committed and the farm does not know."""

        self.let_go = threading.Event()
        self.loses = False
        """Whether what was kept is lost instead of delivered, once it is let go."""

    def handle_error(self, *_: object) -> None:
        """Say nothing: a caller that was killed has hung up."""

    @property
    def url(self) -> str:
        """Where the control plane finds its Hub."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hold(self) -> None:
        """Keep answers to commits from now on."""
        self.let_go.clear()
        self.holding.clear()
        self.holds_commits, self.loses = True, False

    def release(self, *, lose: bool = False) -> None:
        """Deliver what was kept, or lose it, and keep nothing any more."""
        self.holds_commits, self.loses = False, lose
        self.let_go.set()


class _Passing(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: SlowNetwork

    def _pass_on(self) -> None:
        content = self.body()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
        try:
            answer = self.server.http.request(self.command, self.path, headers=headers, content=content)
        except httpx2.HTTPError:
            # As from a Hub that is not there.
            self.close_connection = True
            return
        if self.server.holds_commits and self.command == "POST" and "/commit/" in self.path:
            self.server.holding.set()
            self.server.let_go.wait()
            if self.server.loses:
                self.close_connection = True
                return
        self.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in NOT_PASSED_ON:
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("Content-Length", answer.headers.get("content-length", "0"))
        else:
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _pass_on  # noqa: N815 - http.server's names


@contextmanager
def slow_network(hub_url: str) -> Iterator[SlowNetwork]:
    """Stand between the control plane and a Hub until the block ends."""
    network = SlowNetwork(hub_url)
    thread = threading.Thread(target=network.serve_forever, name="network", daemon=True)
    thread.start()
    try:
        yield network
    finally:
        network.release(lose=True)
        network.shutdown()
        network.server_close()
        network.http.close()
        thread.join(10)
