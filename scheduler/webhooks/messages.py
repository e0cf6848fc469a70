"""What a webhook is sent, as it waits to be sent."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from scheduler.database.tables import WebhookDelivery, new_id, now

MAX_KIND_CHARS = 60


def message(
    webhook_id: str, kind: str, happened_at: datetime, data: dict[str, Any], event_id: int | None = None
) -> WebhookDelivery:
    """A message that is due at once."""
    at = now()
    return WebhookDelivery(
        delivery_id=new_id(),
        webhook_id=webhook_id,
        event_id=event_id,
        kind=kind[:MAX_KIND_CHARS],
        body=json.dumps({"type": kind, "timestamp": happened_at.isoformat(), "data": data}),
        created_at=at,
        due_at=at,
        tries=0,
        detail="",
    )
