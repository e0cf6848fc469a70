"""Which reproduction may answer a claim, and which are too old for a claim that asks for a fresh one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from scheduler.database.tables import Reproduction
from scheduler.machine import ReproductionState

CAME_TO_NOTHING = (ReproductionState.FAILED, ReproductionState.CANCELLED)


def find_shared(session: Session, key: str, fresh_after: datetime | None, *, lock: bool) -> Reproduction | None:
    """The reproduction of that key that answers one more claim, if any: it takes claims, or ran every sample.

    Once a re-verification was run, earlier runs answer no more: an entry that is written anew would get its old
    verdict back from one of them.
    """
    query = (
        select(Reproduction)
        .where(
            Reproduction.key == key,
            or_(Reproduction.joinable, and_(Reproduction.complete, ~_was_repeated())),
            _is_fresh(fresh_after),
        )
        .order_by(Reproduction.complete.desc(), Reproduction.since.desc())
        .limit(1)
    )
    # Else it could be sent out between this look and the commit, to answer claims of which this is none.
    return session.scalar(query.with_for_update(of=Reproduction) if lock else query)


def stop_taking_claims(session: Session, key: str, fresh_after: datetime) -> None:
    """Have runs of a key that are too old for a claim take no others either: one at a time does."""
    # Not one that another planner made since: that one answers this claim too, and the index says so.
    session.execute(
        update(Reproduction)
        .where(Reproduction.key == key, Reproduction.joinable, ~_is_fresh(fresh_after))
        .values(joinable=False)
        .execution_options(synchronize_session="fetch")
    )


def _is_fresh(fresh_after: datetime | None) -> ColumnElement[bool]:
    """Planned since, or not sent out before: without its seed nothing of its result is fixed."""
    if fresh_after is None:
        return true()
    return or_(Reproduction.created_at >= fresh_after, Reproduction.seed.is_(None))


def _was_repeated() -> ColumnElement[bool]:
    later = aliased(Reproduction)
    return exists().where(
        later.key == Reproduction.key,
        later.asked_anew,
        later.created_at > Reproduction.created_at,
        later.state.not_in(CAME_TO_NOTHING),
    )
