"""How much every pool has to do: what runs in it, and what waits for it since when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Reproduction
from scheduler.dispatch.longest_wait import longest_waiting_since
from scheduler.state_machine import ACTIVE, ReproductionState
from specs.api_v1.overview import PoolLoad


def pool_loads(session: Session, at: datetime) -> tuple[PoolLoad, ...]:
    """Of pools that have anything to do, by name."""
    rows = session.execute(
        select(Reproduction.pool, Reproduction.state, func.count(), longest_waiting_since(at))
        .where(Reproduction.state.in_(ACTIVE))
        .group_by(Reproduction.pool, Reproduction.state)
    ).all()
    found: dict[str, dict[str, tuple[int, datetime | None]]] = {}
    for pool, state, number, oldest in rows:
        found.setdefault(pool, {})[state] = (number, oldest)
    return tuple(
        PoolLoad(
            pool=pool,
            queued=_number(states, ReproductionState.QUEUED),
            dispatched=_number(states, ReproductionState.DISPATCHED),
            running=_number(states, ReproductionState.RUNNING),
            oldest_waiting_since=oldest,
            oldest_wait_seconds=_seconds(oldest, at),
        )
        for pool, states in sorted(found.items())
        for oldest in [min((since for _, since in states.values() if since is not None), default=None)]
    )


def as_of(loads: Iterable[PoolLoad], at: datetime) -> tuple[PoolLoad, ...]:
    """Loads that were counted before, whose waits have gone on since."""
    return tuple(
        load.model_copy(update={"oldest_wait_seconds": _seconds(load.oldest_waiting_since, at)}) for load in loads
    )


def _seconds(since: datetime | None, at: datetime) -> float | None:
    return max((at - since).total_seconds(), 0.0) if since is not None else None


def _number(states: dict[str, tuple[int, datetime | None]], state: ReproductionState) -> int:
    return states[state][0] if state in states else 0
