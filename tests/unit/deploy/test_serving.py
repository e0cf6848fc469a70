"""What a small server says of requests that go wrong."""

from __future__ import annotations

import queue
import socket
import struct
import threading

import pytest

from deploy.serving import QuietHandler, answered_by
from tests.support.waiting import PATIENCE_SECONDS


def ask_and_go(url: str, answering: queue.Queue[threading.Thread]) -> threading.Thread:
    """Send a request, and break the connection once it is being answered; returns the thread that answers."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        thread = answering.get(timeout=PATIENCE_SECONDS)
        # What is closed so is reset at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return thread


def test_who_goes_before_the_answer_is_not_spoken_of(capfd: pytest.CaptureFixture[str]) -> None:
    answering: queue.Queue[threading.Thread] = queue.Queue()
    gone = threading.Event()
    failed = []

    class Late(QuietHandler):
        def do_GET(self) -> None:
            answering.put(threading.current_thread())
            gone.wait(PATIENCE_SECONDS)
            try:
                self.answer(200, bytes(2**24))
            except ConnectionError as error:
                failed.append(error)
                raise

    with answered_by(Late) as url:
        thread = ask_and_go(url, answering)
        gone.set()
        thread.join(PATIENCE_SECONDS)
    assert failed
    assert capfd.readouterr().err == ""


def test_a_handler_that_is_wrong_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    answering: queue.Queue[threading.Thread] = queue.Queue()

    class Wrong(QuietHandler):
        def do_GET(self) -> None:
            answering.put(threading.current_thread())
            raise ValueError("nobody thought of that")

    with answered_by(Wrong) as url:
        ask_and_go(url, answering).join(PATIENCE_SECONDS)
    assert "nobody thought of that" in capfd.readouterr().err
