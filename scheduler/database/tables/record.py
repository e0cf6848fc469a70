"""The record of what happened: events."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, now


class Event(Table):
    """Who did what to which thing, when and why. Rows are only ever added."""

    __tablename__ = "event"
    __table_args__ = (Index("event_by_subject", "subject", "subject_id"),)

    # SQLite counts only an INTEGER primary key up by itself.
    event_id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(200))
    """`scheduler`, `worker:NAME`, `hub:USER`, `operator:NAME`."""

    subject: Mapped[str] = mapped_column(String(20))
    """`claim`, `reproduction`, `benchmark`, `model`, `badge`, `key`, `worker`, `webhook`, `token` or `user`."""

    subject_id: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(50))
    """For a change of state, the new state."""

    why: Mapped[str] = mapped_column(String(8000))
