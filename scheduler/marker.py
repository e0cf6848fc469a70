"""Locks that run out by themselves, for periodic work that must not run twice at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from scheduler.database.session import Database
from scheduler.database.tables import Marker, now

FREE = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def held(database: Database, name: str, at_most: timedelta) -> Iterator[bool]:
    """Hold a marker for the block; yields False, and holds nothing, where somebody else has it.

    `at_most` is how long a holder that died keeps others out.
    """
    until = now() + at_most
    mine = _take(database, name, until)
    try:
        yield mine
    finally:
        if mine:
            with database.transaction() as session:
                # Only its own: one that ran out may be held by another by now.
                session.execute(
                    update(Marker).where(Marker.name == name, Marker.held_until == until).values(held_until=FREE)
                )


def _take(database: Database, name: str, until: datetime) -> bool:
    with database.transaction() as session:
        if session.get(Marker, name) is not None:
            taken = session.execute(
                update(Marker).where(Marker.name == name, Marker.held_until < now()).values(held_until=until)
            )
            return bool(taken.rowcount)  # type: ignore[attr-defined]  # an UPDATE returns a CursorResult
    try:
        with database.transaction() as session:
            session.add(Marker(name=name, held_until=until))
    except IntegrityError:
        # Another made the row between our look and our insert.
        return False
    return True
