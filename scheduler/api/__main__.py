"""`python -m scheduler.api`: serve the API where the settings say."""

from __future__ import annotations

import uvicorn

from scheduler.api.app import create_app
from scheduler.settings import read_settings

STOP_SECONDS = 5


def main() -> None:
    """Serve until told to stop."""
    settings = read_settings()
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        server_header=False,
        # Those who follow events never end by themselves.
        timeout_graceful_shutdown=STOP_SECONDS,
        # Whose address counts is a setting of ours (proxies); the server would believe any header from this machine.
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
