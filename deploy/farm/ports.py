"""Ports of this machine."""

from __future__ import annotations

import errno
import socket
from typing import Any

HOST = "127.0.0.1"
"""A one-machine farm is reached from that machine only; who wants more puts a proxy with a password in front."""


def is_free(host: str, port: int) -> bool:
    """Whether this process could listen on this port now, wherever a server does that is told this host of its own.

    A host that is none of this machine's has all ports free: a server that is told to listen there says what is wrong.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return not any(_is_taken(family, address) for family, _, _, _, address in addresses)


def _is_taken(family: int, address: Any) -> bool:
    try:
        socket.create_server(address, family=family).close()
    except OSError as error:
        return error.errno in (errno.EADDRINUSE, errno.EACCES)
    return False
