"""Serving a folder over HTTP."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn

from deploy.localhub.api.app import create_app

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7860


def bind(host: str, port: int) -> tuple[socket.socket, str]:
    """Take an address (port 0: any free one) and say by which URL it is reached.

    Raises:
        OSError: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - shown, not bound
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def serve(folder: Path | str, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> None:
    """Serve until interrupted. Prints one line with the URL once connections are accepted."""
    listener, url = bind(host, port)
    config = uvicorn.Config(create_app(folder, url), log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    # Connections wait in the socket's queue from here on, so the line below is true before the loop runs.
    listener.listen(2048)
    print(f"The Hub in {folder} is served at {url}", flush=True)  # noqa: T201 - the one line that serve is asked for
    uvicorn.Server(config).run(sockets=[listener])
