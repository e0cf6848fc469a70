"""Workers, as they speak of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, now


class Worker(Table):
    """A worker, as it last spoke of itself; or as it was found missing."""

    __tablename__ = "worker"
    __table_args__ = (Index("worker_by_pool", "pool", "state"), Index("worker_by_due", "due_at"))

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    pool: Mapped[str] = mapped_column(String(50))
    state: Mapped[str] = mapped_column(String(20))
    """A `specs.messages.WorkerState`, or `lost`."""

    reason: Mapped[str] = mapped_column(String(2000), default="")
    since: Mapped[datetime] = mapped_column(default=now)
    """When it came into this state."""

    seen_at: Mapped[datetime] = mapped_column(default=now)
    due_at: Mapped[datetime]
    """It is lost if it has said nothing by then."""

    number: Mapped[int | None] = mapped_column(BigInteger)
    """Of the word that this is from: `specs.messages.WorkerAlive`. None where its worker does not say."""

    hardware: Mapped[str] = mapped_column(String(500))
    memory: Mapped[list[Any]]
    """`specs.messages.DeviceMemory`s."""

    engine: Mapped[dict[str, Any] | None]
    """A `specs.messages.LoadedEngine`; None where it has none."""

    engine_key: Mapped[str | None] = mapped_column(String(64))
    """Of that engine: specs/engine_key.py. None too where its worker does not say."""

    asleep: Mapped[list[Any]] = mapped_column(default=list)
    """Keys of engines that it could wake within seconds."""

    passed_over_until: Mapped[datetime | None]
    """Nothing is sent to its own queue before: it had nothing to do and left lying there what was, or an attempt failed
    there that may go better elsewhere."""
