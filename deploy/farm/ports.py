"""Ports of this machine."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"
"""A one-machine farm is reached from that machine only; who wants more puts a proxy with a password in front."""


def is_free(port: int) -> bool:
    """Whether a process could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
