"""A receiver over TLS that begins an answer and goes on with what is no TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HALF_AN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
PATIENCE_SECONDS = 10


@contextmanager
def broken_tls(folder: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Its address, and what trusts its certificate."""
    certificate = folder / "certificate.pem"
    certificate.write_bytes(certificate_of("localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, context), name="broken-tls", daemon=True)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}/hook", ssl.create_default_context(cafile=certificate)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_SECONDS)


def _answer(listener: socket.socket, context: ssl.SSLContext) -> None:
    # Until the listener is closed.
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65_536)
                secure.sendall(HALF_AN_ANSWER)
                with socket.socket(fileno=secure.detach()) as bare:
                    bare.sendall(b"not a record of TLS")
                    # Closed with something unread, it would take back what it sent.
                    bare.settimeout(PATIENCE_SECONDS)
                    while bare.recv(65_536):
                        pass


def certificate_of(host: str) -> bytes:
    """A key and a certificate that it signed itself, for an hour."""
    key, at = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)
