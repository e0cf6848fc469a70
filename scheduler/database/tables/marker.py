"""The locks that expire by themselves (scheduler/database/expiring_locks.py)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table

REAPER_LOOKED = "scheduler.reap.looked"
"""A marker that nobody holds: its time is when anybody last looked for lost attempts."""

HUB_SCANNED = "scheduler.scan.got_through"
"""Likewise: when a scan last read the Hub to its end."""

BENCHMARKS_LISTED = "scheduler.scan.listed"
"""Likewise: when a scan asked for the list of benchmarks that it entered last."""

AWAITED = "scheduler.awaited"
"""Likewise: since when such markers are awaited, for a farm on which nobody ever made them. Set by a migration."""


class Marker(Table):
    """A named lock that runs out by itself, for work that must not run twice at once."""

    __tablename__ = "marker"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    held_until: Mapped[datetime]
