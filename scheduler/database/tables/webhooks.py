"""Webhooks, and the deliveries to each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, new_id, now, partial_index


class Webhook(Table):
    """Somebody outside who is told of events."""

    __tablename__ = "webhook"

    webhook_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(100))
    """`whsec_…`: what each delivery is signed with. Kept as it is, because signing needs it."""

    filter: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Which events: a `WebhookFilter` of specs/api_v1/webhooks.py."""

    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    enabled: Mapped[bool] = mapped_column(default=True)
    """False once it is removed; its log stays."""

    last_event_id: Mapped[int] = mapped_column(BigInteger, default=0)
    """Events up to this one were looked at for it."""


class WebhookDelivery(Table):
    """One message to a webhook, and what became of it."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("webhook_delivery_due", "due_at"),
        partial_index("webhook_delivery_waiting", "webhook_id", where="due_at IS NOT NULL"),
        partial_index("webhook_delivery_settled", "created_at", where="due_at IS NULL"),
        Index("webhook_delivery_by_age", "webhook_id", "created_at", "delivery_id"),
        # An event is told once, even when two control workers meet.
        Index("webhook_delivery_once", "webhook_id", "event_id", unique=True),
    )

    delivery_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    """The message's `webhook-id`: the same at each try."""

    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.webhook_id"))
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    """None for a test."""

    kind: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)
    """The exact text that is signed and sent."""

    created_at: Mapped[datetime] = mapped_column(default=now)
    tries: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None] = mapped_column(default=now)
    """When to try next; None once it was taken or given up."""

    tried_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status: Mapped[int | None]
    """HTTP status of the last try; None where there was no answer."""

    detail: Mapped[str] = mapped_column(String(1000), default="")
