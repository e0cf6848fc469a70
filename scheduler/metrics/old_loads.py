"""Old loads of engines, put together: a counter counts all there ever were, and nobody asks which those were.

A thousand GPUs load tens of thousands of engines a day.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, delete, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from scheduler.database.session import Database
from scheduler.database.tables import EngineLoad, Worker, now

KEPT = timedelta(days=7)
"""Long enough for any process that counts them to have counted them (scheduler/metrics/totals.py)."""

OF_MANY = datetime(1970, 1, 1, tzinfo=UTC)
"""When the engines of a row for many were started, as it says: no worker's engine was then."""


def put_together(database: Database) -> None:
    """Make one row for each pool of what was noted longer ago than is kept.

    A worker that is listed may still speak of its latest engine, which would be noted again: that has its row.
    """
    later = aliased(EngineLoad)
    latest = select(func.max(later.started_at)).where(later.worker == EngineLoad.worker).scalar_subquery()
    spoken_of = and_(exists().where(Worker.name == EngineLoad.worker), EngineLoad.started_at == latest)
    old = (EngineLoad.noted_at < now() - KEPT, or_(EngineLoad.started_at == OF_MANY, ~spoken_of))
    taken_away = delete(EngineLoad).where(*old).returning(EngineLoad.pool, EngineLoad.loads)
    # Of two processes at it, each counts what it took away; where both add a row for one pool, the second undoes all.
    with suppress(IntegrityError), database.transaction() as session:
        loads: Counter[str] = Counter()
        for pool, number in session.execute(taken_away):
            loads[pool] += number
        for pool, number in loads.items():
            row = EngineLoad(worker=pool, started_at=OF_MANY, noted_at=OF_MANY, pool=pool, model_id="", loads=number)
            session.add(row)
