"""A small HTTP server over TLS, whose certificate this process trusts meanwhile."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import httpx2

from tests.support.broken_tls import certificate_of


@contextmanager
def certificates_read_anew() -> Iterator[None]:
    """Have clients look at `SSL_CERT_FILE` until the block ends, where tests share what was made before it was set."""
    # As it is shared by tests/conftest.py.
    with patch("httpx2._transports.default.create_ssl_context", httpx2.create_ssl_context):
        yield


@contextmanager
def answered_over_tls(handler: type[BaseHTTPRequestHandler], folder: Path) -> Iterator[str]:
    """Have requests handled on a free port of this machine until the block ends; yields the address."""
    certificate = folder / "certificate.pem"
    certificate.write_bytes(certificate_of("localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="serving", daemon=True)
    thread.start()
    try:
        with patch.dict(os.environ, {"SSL_CERT_FILE": str(certificate)}), certificates_read_anew():
            yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
