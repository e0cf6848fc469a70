"""`python -m scheduler.api`: serve the API where the settings say."""

from __future__ import annotations

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from scheduler.settings import read_settings
from specs.processes.garbage import collect_rarely
from specs.processes.log_lines import json_lines
from specs.processes.secrets import mask_logs

STOP_SECONDS = 5


def main() -> None:
    """Serve until told to stop."""
    collect_rarely()
    from scheduler.api.app import create_app  # noqa: PLC0415 - most of what is imported

    settings = read_settings()
    mask_logs(settings.secrets)
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_config=json_lines() if settings.log_format == "json" else LOGGING_CONFIG,
        # Where httptools is installed, as by vLLM, the server would choose that, which takes headers without end.
        http="h11",
        server_header=False,
        # Whose address counts is a setting of ours (proxies); the server would believe any header from this machine.
        proxy_headers=False,
        # Those who follow events never end by themselves.
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    main()
