"""The outbox: messages to send."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, now, partial_index


class OutboxRow(Table):
    """A message that a transaction caused; sent after its commit, again until it was."""

    __tablename__ = "outbox"
    __table_args__ = (partial_index("outbox_unsent", "created_at", where="sent_at IS NULL"),)

    message_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Also the Celery task's id."""

    queue: Mapped[str] = mapped_column(String(60))
    task: Mapped[str] = mapped_column(String(60))
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]
