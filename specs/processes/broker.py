"""How every process of a farm that has a Celery app speaks to the broker."""

from __future__ import annotations

import ssl
from typing import Any

from specs.processes.connections import BROKER

TRANSPORT = "specs.processes.careful_transport:Transport"


def celery_settings(broker_url: str) -> dict[str, Any]:
    """Celery's settings that all of them have: where the broker is, and that messages are JSON which nobody answers."""
    return {
        "broker_url": broker_url,
        "broker_connection_retry_on_startup": True,
        # None is without end: a broker that comes back is found again.
        "broker_connection_max_retries": None,
        # Such as for a key of another type under a queue's name: connecting anew sets that right.
        "broker_channel_error_retry": True,
        "broker_transport": TRANSPORT,
        # kombu knows only by the name of its own transport that this means TLS. What the address says itself wins.
        "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED} if broker_url.startswith("rediss://") else False,
        "broker_transport_options": BROKER,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
    }
