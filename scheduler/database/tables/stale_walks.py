"""How far looks for stale verdicts have come, so that the next one goes on from there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table, new_id, now


class StaleWalk(Table):
    """A walk that has not come to its end, or begins anew when it has."""

    __tablename__ = "stale_walk"
    __table_args__ = (Index("stale_walk_by_subject", "subject", "subject_id"), Index("stale_walk_by_age", "since"))

    # An id of its own: who notes a change adds a row, and never meets another who does.
    walk_id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    subject: Mapped[str] = mapped_column(String(20))
    subject_id: Mapped[str] = mapped_column(String(200))
    """Of the model or the benchmark; of the lasting ones, the digest of the rules for which they were begun."""

    since: Mapped[datetime] = mapped_column(default=now)
    reached_at: Mapped[datetime | None]
    """Up to where it has come, with `reached_id`; None is the beginning."""

    reached_id: Mapped[str] = mapped_column(String(32), default="")
    passes: Mapped[int] = mapped_column(default=0)
    """How often it has come to its end."""
