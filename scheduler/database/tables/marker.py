"""Times under a name, such as until when a lock is held (scheduler/database/expiring_locks.py)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from scheduler.database.tables.base import Table

REAPER_LOOKED = "scheduler.reap.looked"
"""A marker that is no lock: when anybody last looked for lost attempts."""

HUB_SCANNED = "scheduler.scan.got_through"
"""Likewise: when a scan last read the Hub to its end."""

BENCHMARKS_LISTED = "scheduler.scan.listed"
"""Likewise: when a scan asked for the list of benchmarks that it entered last."""

AWAITED = "scheduler.awaited"
"""Likewise: since when such markers are awaited, for a farm on which nobody ever made them. Set by a migration."""


class Marker(Table):
    """A time under a name.

    Of a lock, for work that must not run twice at once, until when it is held: it runs out by itself. Of the markers
    above, what each says.
    """

    __tablename__ = "marker"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    at: Mapped[datetime] = mapped_column("held_until")
