"""What is kept for metrics alone: loads of engines, what was left of the Hub's limits, refused messages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, now


class EngineLoad(Table):
    """A worker loaded a model into a fresh engine, as it said when it had. Old ones are one row for each pool."""

    __tablename__ = "engine_load"
    __table_args__ = (Index("engine_load_by_age", "noted_at"),)

    worker: Mapped[str] = mapped_column(String(200), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(primary_key=True)
    """By the worker's clock; with its name it tells one engine from another, however often it is spoken of."""

    pool: Mapped[str] = mapped_column(String(50))
    model_id: Mapped[str] = mapped_column(String(200))
    noted_at: Mapped[datetime] = mapped_column(default=now)
    loads: Mapped[int] = mapped_column(BigInteger, default=1)
    """1, and of a row for many: how many."""


class HubLimit(Table):
    """What the Hub last said of how many requests it will still answer."""

    __tablename__ = "hub_limit"

    resource: Mapped[str] = mapped_column(String(20), primary_key=True)
    """A kind of request, one of `scheduler.hub.hub_limits.RESOURCES`."""

    remaining: Mapped[int]
    quota: Mapped[int | None]
    """Of a whole window; None where the Hub did not say."""

    resets_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class Refused(Table):
    """How many messages were taken from queues and refused, as none of this farm's. The migration makes the rows."""

    __tablename__ = "refused"

    queue: Mapped[str] = mapped_column(String(20), primary_key=True)
    """One of `specs.queues.QUEUE_KINDS`."""

    number: Mapped[int] = mapped_column(BigInteger)
