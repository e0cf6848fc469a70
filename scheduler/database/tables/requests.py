"""Discussions on the Hub in which people ask for re-verifications, and the comments that were taken there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, now


class Thread(Table):
    """A discussion or pull request on the Hub in which somebody may ask for a re-verification."""

    __tablename__ = "thread"
    __table_args__ = (Index("thread_by_look", "looked_at"),)

    model_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    looked_at: Mapped[datetime] = mapped_column(default=now)
    """`scheduler.watch.threads.NOT_YET` where nobody has."""


class HeardComment(Table):
    """A comment that asked for a re-verification: it counts once, whatever became of it."""

    __tablename__ = "heard_comment"
    __table_args__ = (Index("heard_comment_by_thread", "model_id", "number"),)

    comment_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_id: Mapped[str] = mapped_column(String(200))
    number: Mapped[int]
    author: Mapped[str] = mapped_column(String(100))
    heard_at: Mapped[datetime] = mapped_column(default=now)
    answer: Mapped[str | None] = mapped_column(String(4000))
    """What is to be said to it on the Hub; None where nothing is."""

    answered_at: Mapped[datetime | None]
