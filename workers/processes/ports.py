"""Ports of this machine for servers that are told which one to listen on."""

from __future__ import annotations

import socket

ENGINE_HOST = "127.0.0.1"
"""Engines answer to nobody elsewhere."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that for a minute nobody is given who asks for any.

    A port that was merely free a moment ago is anybody's until the server listens, which takes an engine many seconds.
    So a connection to it was made and closed here: its end waits (TIME_WAIT), and while it does, Linux gives the port
    to no one else, yet lets a server listen there that sets SO_REUSEADDR, as servers do. (The idea is Yelp's
    ephemeral-port-reserve.) Who asks for this very port may still take it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        with socket.create_connection(address) as client:
            server, _ = listener.accept()
            # The end that closes first is the one that waits.
            server.close()
            client.recv(1)
    return address[1]
