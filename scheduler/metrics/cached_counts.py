"""Counts that look at every row of a table, and so are kept for a minute instead of worked out for each scrape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Claim, Reproduction
from scheduler.state_machine import ReproductionState

KEPT = timedelta(minutes=1)


class CachedCounts:
    """Counts that are at most a minute old."""

    def __init__(self, count: Callable[[Session], Mapping[str, int]]) -> None:
        self._count = count
        self._found: tuple[datetime, Mapping[str, int]] | None = None

    def read(self, session: Session, at: datetime) -> Mapping[str, int]:
        """The counts, worked out anew where the last ones are too old."""
        if self._found is None or at - self._found[0] >= KEPT:
            self._found = at, self._count(session)
        return self._found[1]


def set_aside(session: Session) -> Mapping[str, int]:
    """Queued reproductions that were set aside, as `set_aside`: their reason is in no index."""
    found = select(func.count()).where(Reproduction.state == ReproductionState.QUEUED, Reproduction.set_aside)
    return {"set_aside": session.scalar(found) or 0}


def claims(session: Session) -> Mapping[str, int]:
    """Claims by state."""
    return {
        str(state): number
        for state, number in session.execute(select(Claim.state, func.count()).group_by(Claim.state)).all()
    }
