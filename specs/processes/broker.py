"""How every process of a farm that has a Celery app speaks to the broker."""

from __future__ import annotations

from typing import Any

from specs.processes.connections import BROKER


def celery_settings(broker_url: str) -> dict[str, Any]:
    """Celery's settings that all of them have: where the broker is, and that messages are JSON which nobody answers."""
    return {
        "broker_url": broker_url,
        "broker_connection_retry_on_startup": True,
        # None is without end: a broker that comes back is found again.
        "broker_connection_max_retries": None,
        "broker_transport_options": BROKER,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
    }
