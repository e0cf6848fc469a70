"""A PostgreSQL server for a measurement: in a folder of its own, on a socket, gone in the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

START_SECONDS = 60


@contextmanager
def running_postgres() -> Iterator[tuple[str, Path]]:
    """SQLAlchemy's address of an empty database, and a folder for whatever else is needed.

    Raises:
        RuntimeError: no server is installed, or it does not start.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="reprofarm-bench-"))
    # It refuses to run as root; its package made a user for it.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shutil.chown(folder, user)
    data = folder / "data"
    made = [
        str(programs / "initdb"),
        "--pgdata",
        str(data),
        "--username",
        "farm",
        "--auth",
        "trust",
        "--encoding",
        "UTF8",
    ]
    subprocess.run(made, check=True, capture_output=True, cwd=folder, user=user)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "shared_buffers=256MB"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=folder, user=user
        )
    try:
        _wait(server, folder)
        yield f"postgresql+psycopg://farm@/postgres?host={folder}", folder
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    if on_path is None and not found:
        raise RuntimeError("no PostgreSQL server is installed (Debian's package `postgresql`)")
    return Path(on_path).resolve().parent if on_path else found[-1].parent


def _wait(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(folder), user="farm", dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}") from None
            time.sleep(0.05)
        else:
            return
