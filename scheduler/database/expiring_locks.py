"""Locks that expire by themselves, for periodic work that must not run twice at once.

A holder renews its marker while it works, so one that was killed keeps others out for seconds, however long the work
may take; one that hangs keeps them out for as long as the work may take at most. A holder that was stopped for longer
and wakes up works beside its successor until it asks whether its marker lasts: what is done under one has to bear that,
and is tested so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from scheduler.database.session import Database
from scheduler.database.tables import Marker, now
from scheduler.settings import CLOCKS_DIFFER_SECONDS

log = logging.getLogger(__name__)

FREE = datetime(1970, 1, 1, tzinfo=UTC)

HELD_AT_ONCE = timedelta(seconds=15 + CLOCKS_DIFFER_SECONDS)
"""What a marker is taken for, and renewed to: so long a holder that was killed keeps others out. To whoever's clock is
ahead it runs out earlier."""


@contextmanager
def held(database: Database, name: str, at_most: timedelta, at_once: timedelta = HELD_AT_ONCE) -> Iterator[Held]:
    """Hold a marker for the block; what it yields is false, and holds nothing, where somebody else has it.

    `at_most` is how long a holder that hangs keeps others out, `at_once` how long one that died does.
    """
    marker = Held(database, name, now() + at_most, at_once)
    if not marker.take():
        yield marker
        return
    ended = threading.Event()
    renewing = threading.Thread(target=marker.renew_until, args=(ended,), name=f"marker {name}", daemon=True)
    renewing.start()
    try:
        yield marker
    finally:
        ended.set()
        renewing.join()
        # Only its own: one that ran out may be held by another by now.
        marker.set(FREE)


@dataclass
class Held:
    """A marker in the hands of this process: true, where it came to be."""

    database: Database
    name: str
    latest: datetime
    at_once: timedelta
    until: datetime = FREE
    taken: bool = False

    def __bool__(self) -> bool:
        """Whether it was free."""
        return self.taken

    def lasts(self) -> bool:
        """Whether nobody else can have it yet. Who writes where others see it asks before each thing."""
        return self.taken and now() < self.until

    def take(self) -> bool:
        """Take it, if it is free; returns whether it is this one's now."""
        until = self._next()
        with self.database.transaction() as session:
            if session.get(Marker, self.name) is not None:
                taken = session.execute(
                    update(Marker).where(Marker.name == self.name, Marker.at < now()).values(at=until)
                )
                self.until, self.taken = until, bool(taken.rowcount)  # type: ignore[attr-defined]  # a CursorResult
                return self.taken
        try:
            with self.database.transaction() as session:
                session.add(Marker(name=self.name, at=until))
        except IntegrityError:
            # Another made the row between our look and our insert.
            return False
        self.until, self.taken = until, True
        return True

    def renew_until(self, ended: threading.Event) -> None:
        """Renew it three times in the time that it is held at once, until the end or until it is another's."""
        while not ended.wait(self.at_once.total_seconds() / 3):
            try:
                if self.until >= self.latest or not self.set(self._next()):
                    return
            except SQLAlchemyError as error:
                # A database that is away for a moment; the marker may be another's when it is back.
                log.warning("marker %s not renewed: %s", self.name, error)

    def set(self, until: datetime) -> bool:
        """Change until when it is held; returns whether it was still this one's."""
        with self.database.transaction() as session:
            changed = session.execute(
                update(Marker).where(Marker.name == self.name, Marker.at == self.until).values(at=until)
            )
            kept = bool(changed.rowcount)  # type: ignore[attr-defined]  # an UPDATE returns a CursorResult
        self.until = until if kept else FREE
        return kept

    def _next(self) -> datetime:
        return min(now() + self.at_once, self.latest)
