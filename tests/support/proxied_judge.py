"""A judge with a certificate of its own authority, whom only a proxy that wants a password reaches."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

from deploy.serving import QuietHandler, answered_by
from tests.support.broken_tls import certificate_of

HOST = "judge.example"
PASSWORD = "proxyPassword4711"
GRADE = "GRADE: C"


@dataclass
class ProxiedJudge:
    """Where it is."""

    proxy: str
    """Its address, with the password."""

    certificate: Path
    reached: list[str] = field(default_factory=list)
    """What the proxy was asked to reach."""


class _Judge(QuietHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.body())
        said = {"index": 0, "message": {"role": "assistant", "content": GRADE}, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [said]}
        self.answer(200, json.dumps(answer).encode())


@contextmanager
def proxied_judge(folder: Path) -> Iterator[ProxiedJudge]:
    """Have both there until the block ends."""
    certificate = folder / "judge.pem"
    certificate.write_bytes(certificate_of(HOST))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    judge = ThreadingHTTPServer(("127.0.0.1", 0), _Judge)
    judge.daemon_threads = True
    judge.socket = context.wrap_socket(judge.socket, server_side=True)
    threading.Thread(target=judge.serve_forever, name="judge", daemon=True).start()
    reached: list[str] = []

    class Proxy(QuietHandler):
        def do_CONNECT(self) -> None:  # noqa: N802 - the name that http.server calls
            wanted = base64.b64encode(f"farm:{PASSWORD}".encode()).decode()
            if self.headers.get("Proxy-Authorization") != f"Basic {wanted}":
                self.answer(407)
                return
            reached.append(self.path)
            with socket.create_connection(("127.0.0.1", judge.server_port)) as there:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
                back.start()
                _pump(self.connection, there)
                back.join()
            self.close_connection = True

    try:
        with answered_by(Proxy) as url:
            address = url.replace("http://", f"http://farm:{PASSWORD}@")
            yield ProxiedJudge(address, certificate, reached)
    finally:
        judge.shutdown()
        judge.server_close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while some := one.recv(65_536):
            other.sendall(some)
        other.shutdown(socket.SHUT_WR)
