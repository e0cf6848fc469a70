from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from scheduler.database.session import Database
from workers.processes.ports import free_port


def test_the_process_serves_where_its_environment_says_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    settings = {"REPROFARM_DATABASE_URL": f"sqlite:///{tmp_path / 'farm.db'}", "REPROFARM_API_PORT": str(port)}
    database = Database(settings["REPROFARM_DATABASE_URL"])
    database.upgrade()
    database.engine.dispose()
    with subprocess.Popen([sys.executable, "-m", "scheduler.api"], env={**os.environ, **settings}) as process:
        try:
            while process.poll() is None:
                try:
                    answer = httpx2.get(f"http://127.0.0.1:{port}/v1/claims")
                    break
                except httpx2.ConnectError:
                    time.sleep(0.05)
            assert answer.json() == {"items": [], "next": None}
            assert "server" not in answer.headers
            with socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
                # A header that has no end so far: what has one is refused by the app.
                caller.sendall(b"GET /v1/claims HTTP/1.1\r\nHost: farm\r\nX: ".ljust(2**16 + 1, b"x"))
                assert caller.recv(100).startswith(b"HTTP/1.1 400 ")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
