"""Which attempt of a reproduction counts, and whose it is: what heartbeats and reports are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Attempt, Reproduction
from scheduler.record import move_reproduction
from scheduler.state_machine import IN_FLIGHT, ReproductionState
from specs.messages import AttemptRef, AttemptsAlive, Report

ROW_SECONDS = 5.0
"""That reports wait for a row which somebody else holds. Several are taken in together, one group after the other, and
their leases last only for so long: a process that froze or vanished with a row is to keep no other report waiting."""


class CurrentAttempt(NamedTuple):
    """A reproduction and the attempt of it that counts, both locked."""

    reproduction: Reproduction
    attempt: Attempt


def current_attempts(session: Session, refs: Sequence[AttemptRef]) -> dict[str, CurrentAttempt]:
    """Reproductions by their ids, each with its current attempt; locked until the transaction ends."""
    rows = session.execute(_CURRENT, {"ids": [ref.reproduction_id for ref in refs]})
    return {reproduction.reproduction_id: CurrentAttempt(reproduction, attempt) for reproduction, attempt in rows}


def free_of(session: Session, refs: Sequence[AttemptRef]) -> Sequence[str]:
    """The reproductions of which nobody else holds a row; locked, as in `current_attempts`."""
    return session.scalars(_FREE, {"ids": [ref.reproduction_id for ref in refs]}).all()


_CURRENT = (
    select(Reproduction, Attempt)
    .join(
        Attempt,
        and_(Attempt.reproduction_id == Reproduction.reproduction_id, Attempt.number == Reproduction.attempt),
    )
    .where(Reproduction.reproduction_id.in_(bindparam("ids", expanding=True)))
    # In one order, as everybody who locks several.
    .order_by(Reproduction.reproduction_id)
    # Both, or who waited for the one would see the other as it was before.
    .with_for_update()
)
"""Made once, like the other questions here: every report asks them."""

_FREE = _CURRENT.with_only_columns(Reproduction.reproduction_id, maintain_column_froms=True).with_for_update(
    skip_locked=True
)


def is_current(current: Mapping[str, CurrentAttempt], message: AttemptsAlive | Report, ref: AttemptRef) -> bool:
    """Whether the attempt that a worker speaks of is its reproduction's current one, goes on, and is of its batch.

    Nor may another worker hold it. Of another batch it is where the database lost its last commits, by a failover or a
    restore: the next attempt then has the number of one that a worker has already, and another seed.
    """
    found = current.get(ref.reproduction_id)
    if found is None or found.reproduction.state not in IN_FLIGHT or found.reproduction.attempt != ref.attempt:
        return False
    return found.reproduction.worker in (None, message.worker) and message.batch_id in (None, found.attempt.batch_id)


def taken_by(session: Session, current: CurrentAttempt, worker: str) -> None:
    """Record which worker has the attempt, and that it is running, on the first message heard about it."""
    reproduction, attempt = current
    if reproduction.state == ReproductionState.DISPATCHED:
        why = taken_words(reproduction, worker)
        move_reproduction(session, reproduction, ReproductionState.RUNNING, why, f"worker:{worker}")
    reproduction.worker = attempt.worker = worker


def taken_words(reproduction: Reproduction, worker: str) -> str:
    """The reason of a run that is under way."""
    return f"attempt {reproduction.attempt} taken by {worker}"
