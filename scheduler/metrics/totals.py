"""Totals over all that ever happened, without looking at all of it for each scrape.

What lies back for a while does not change any more, so it is counted once by each process and kept as a sum; a scrape
counts what came since. That is exact, it never falls while the process lives, and its cost does not grow with the farm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, func, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from scheduler.database.tables import Attempt, Badge, EngineLoad, Reproduction, VerdictRow
from specs.judging.verdict import Outcome
from specs.messages import AttemptOutcome

SETTLED_AFTER = timedelta(minutes=10)
"""A row's time is taken before its transaction is committed, by the clock of whoever writes it: no transaction takes
so long, and no two clocks of a farm should differ by so much."""

GPU_SECONDS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0)
"""Upper bounds of the histogram's buckets: from a small model on a short benchmark to eight GPUs for three hours."""

Key = tuple[str, ...]
Between = Callable[[Session, datetime | None, datetime | None], Mapping[Key, float]]
"""Sums by key over the rows from a time (None: from the first) to before another (None: to the last)."""


class Totals:
    """A growing sum over rows that are only ever added, each under a time that never changes."""

    def __init__(self, between: Between) -> None:
        self._between = between
        self._until: datetime | None = None
        self._settled: Counter[Key] = Counter()

    def read(self, session: Session, at: datetime) -> Mapping[Key, float]:
        """The totals at that time."""
        until = at - SETTLED_AFTER
        if self._until is None or until > self._until:
            self._settled.update(self._between(session, self._until, until))
            self._until = until
        found = Counter(self._settled)
        found.update(self._between(session, self._until, None))
        return found


def verdicts(session: Session, since: datetime | None, until: datetime | None) -> Mapping[Key, float]:
    """Verdicts by outcome."""
    rows = session.execute(
        select(VerdictRow.outcome, func.count())
        # By outcome too, or SQLite goes through all of the index on both.
        .where(VerdictRow.outcome.in_([*Outcome]), _within(VerdictRow.decided_at, since, until))
        .group_by(VerdictRow.outcome)
    )
    return {(outcome,): number for outcome, number in rows}


def badges(session: Session, since: datetime | None, until: datetime | None) -> Mapping[Key, float]:
    """Badges that were signed."""
    signed = session.scalar(select(func.count()).select_from(Badge).where(_within(Badge.signed_at, since, until)))
    return {(): signed or 0}


def engine_loads(session: Session, since: datetime | None, until: datetime | None) -> Mapping[Key, float]:
    """Engine loads by pool."""
    rows = session.execute(
        select(EngineLoad.pool, func.sum(EngineLoad.loads))
        .where(_within(EngineLoad.noted_at, since, until))
        .group_by(EngineLoad.pool)
    )
    # A sum of them is a decimal number on PostgreSQL.
    return {(pool,): float(number) for pool, number in rows}


def attempts(session: Session, since: datetime | None, until: datetime | None) -> Mapping[Key, float]:
    """Sums over attempts that ended, with what each is in front of its key.

    `("ended", pool, outcome)` attempts; of those that completed also `("counted", pool)` and `("population", pool)`
    samples, `("gpu_seconds", pool)`, and `("le", pool, bound)` reproductions that took no more than that.
    """
    took = Reproduction.gpu_seconds
    rows = session.execute(
        select(
            Reproduction.pool,
            Attempt.outcome,
            func.count(),
            func.sum(Attempt.samples_done),
            func.sum(Attempt.samples_total),
            func.sum(took),
            *(func.sum(case((took <= bound, 1), else_=0)) for bound in GPU_SECONDS),
        )
        .join(Reproduction, Reproduction.reproduction_id == Attempt.reproduction_id)
        .where(Attempt.outcome.is_not(None), _within(Attempt.ended_at, since, until))
        .group_by(Reproduction.pool, Attempt.outcome)
    )
    found: dict[Key, float] = {}
    for pool, outcome, number, counted, population, seconds, *below in rows:
        found["ended", pool, outcome] = number
        if outcome == AttemptOutcome.COMPLETED:
            found["counted", pool], found["population", pool] = counted or 0, population or 0
            found["gpu_seconds", pool] = seconds or 0.0
            for bound, reproductions in zip(GPU_SECONDS, below, strict=True):
                found["le", pool, str(bound)] = reproductions or 0
    return found


def _within(
    column: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    since: datetime | None,
    until: datetime | None,
) -> ColumnElement[bool]:
    return and_(
        column >= since if since is not None else true(),
        column < until if until is not None else true(),
    )
