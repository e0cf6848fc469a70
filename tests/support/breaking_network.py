"""What lies between a worker and its Hub: a network that breaks off in the middle of what it carries."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_PART_BYTES = 16 * 1024


@dataclass
class BreakingNetwork:
    """Carries connections to a server, and so many bytes of its answers on each."""

    url: str
    """Where the server is found behind it."""

    breaks_after_bytes: int | None = None
    """None carries all."""

    broken: int = 0
    """Connections that broke."""

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Hand on what the server answers."""
        left = self.breaks_after_bytes
        with suppress(OSError):
            while part := far.recv(_PART_BYTES):
                near.sendall(part)
                if left is not None and (left := left - len(part)) <= 0:
                    self.broken += 1
                    break
        for end in (near, far):
            # Closing alone is not seen at the other end while a thread still listens to it.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def breaking_network(server_url: str) -> Iterator[BreakingNetwork]:
    """Stand before a server until the block ends; nothing breaks yet."""
    server = urlsplit(server_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        network = BreakingNetwork(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def ask(near: socket.socket, far: socket.socket) -> None:
            with suppress(OSError):
                while part := near.recv(_PART_BYTES):
                    far.sendall(part)

        def listen() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.create_connection((str(server.hostname), int(server.port or 80)))
                    for carry in (ask, network.carry):
                        threading.Thread(target=carry, args=(near, far), daemon=True).start()

        threading.Thread(target=listen, name="network", daemon=True).start()
        yield network
