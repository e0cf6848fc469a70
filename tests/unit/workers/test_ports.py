"""A port that a server is told to listen on is still there when it does."""

from __future__ import annotations

import socket

import pytest

from workers.processes.ports import free_port


def test_a_port_that_was_found_free_is_given_to_nobody_and_left_to_the_server_it_is_for() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with (
        socket.create_server(("127.0.0.1", port)) as server,
        socket.create_connection(("127.0.0.1", port)) as client,
        server.accept()[0] as accepted,
    ):
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"


def test_nobody_answers_there_before() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()))
