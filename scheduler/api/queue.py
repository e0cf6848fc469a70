"""Where reproductions are in the queues of their pools.

A place is a count of all that goes before, which is long where the queue is. So a pool's queue is walked once for all
who ask, no oftener than it is worth (scheduler/api/live/count_cache.py), and what is kept of it is small: eight bytes a
run.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from scheduler.api.dependencies import Source, keep_for
from scheduler.api.views import Run
from scheduler.collect.workforce import crews
from scheduler.database.tables import Attempt, Reproduction, now
from scheduler.state_machine import WAITING, ReproductionState

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

BULK = ("measurement", "settings", "stopping")
WITHOUT_BULK = tuple(defer(getattr(Reproduction, name), raiseload=True) for name in BULK)
"""For queries of many: a measurement holds the score of every sample, and so may what a run stops by."""


@dataclass(frozen=True)
class Line:
    """A pool's queue."""

    dispatched: Mapping[int, array[int]]
    """When those with the broker were made, in microseconds since 1970, in their order; by priority."""

    queued: Mapping[int, array[int]]
    """Likewise; they go after those with the broker."""

    trouble: str | None
    """Why nobody takes what waits there; None where somebody will."""

    def position(self, run: Reproduction) -> int:
        """Place of one that waits there, from 1. Two that were made in the same microsecond have the same."""
        if run.state == ReproductionState.DISPATCHED:
            return _before(self.dispatched, run) + 1
        return sum(len(times) for times in self.dispatched.values()) + _before(self.queued, run) + 1


def lines(source: Source, session: Session, reproductions: Iterable[Reproduction]) -> Mapping[str, Line]:
    """The queues in which any of `reproductions` waits, by pool."""
    waiting = [row for row in reproductions if row.state in WAITING]
    at = now()
    for row in waiting:
        if row.not_before is not None and row.not_before > at:
            # From then on it waits for something else, whether or not anybody writes that.
            keep_for(session, (row.not_before - at).total_seconds())
    pools = {row.pool for row in waiting}
    return {pool: source.count(session, ("line", pool), partial(_line, session, pool)).value for pool in pools}


def run_in(lines: Mapping[str, Line], reproduction: Reproduction, attempt: Attempt | None) -> Run:
    """A reproduction with its current attempt and, where it waits in one of `lines`, its place there."""
    line = lines.get(reproduction.pool) if reproduction.state in WAITING else None
    if line is None:
        return Run(reproduction, attempt, None)
    return Run(reproduction, attempt, line.position(reproduction), line.trouble)


def _line(session: Session, pool: str) -> Line:
    found: dict[ReproductionState, dict[int, array[int]]] = {state: {} for state in WAITING}
    rows = session.execute(
        select(Reproduction.state, Reproduction.priority, Reproduction.created_at)
        .where(Reproduction.state.in_(WAITING), Reproduction.pool == pool)
        .order_by(Reproduction.state, Reproduction.priority, Reproduction.created_at)
    )
    for state, priority, created_at in rows:
        found[ReproductionState(state)].setdefault(priority, array("q")).append(_microseconds(created_at))
    dispatched, queued = found[ReproductionState.DISPATCHED], found[ReproductionState.QUEUED]
    return Line(dispatched, queued, crews(session, [pool])[pool].trouble)


def _before(line: Mapping[int, array[int]], run: Reproduction) -> int:
    urgent = sum(len(times) for priority, times in line.items() if priority < run.priority)
    return urgent + bisect_left(line.get(run.priority, ()), _microseconds(run.created_at))


def _microseconds(time: datetime) -> int:
    return (time - BEGINNING) // MICROSECOND
