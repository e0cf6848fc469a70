"""Runs that were cancelled under way and begun again: each goes to its end, unless an operator cancels it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from scheduler.database.tables import Attempt, Reproduction
from scheduler.state_machine import ReproductionState
from specs.messages import Stage


def is_operators_to_cancel(session: Session, run: Reproduction) -> bool:
    """Whether nobody but an operator has this run cancelled: it `goes_to_its_end`."""
    this = select(Reproduction.reproduction_id).where(Reproduction.reproduction_id == run.reproduction_id)
    return session.scalar(this.where(goes_to_its_end())) is not None


def goes_to_its_end() -> ColumnElement[bool]:
    """Whether a run that is under way is one that was cancelled under way, begun again.

    Nobody but an operator has such a one cancelled: it may be cancelled for what its score came to each time. One
    that no worker began has no score, and is cancelled for other reasons.
    """
    return and_(_was_begun(Reproduction), is_begun_again())


def is_begun_again() -> ColumnElement[bool]:
    """Whether a run, under way or not, is one that was cancelled under way, begun again."""
    before = aliased(Reproduction)
    return exists().where(
        # The first two follow from the key, and have an index.
        before.weights_sha256 == Reproduction.weights_sha256,
        before.dataset_id == Reproduction.dataset_id,
        before.key == Reproduction.key,
        before.seed == Reproduction.seed,
        before.state == ReproductionState.CANCELLED,
        _was_begun(before),
        before.reproduction_id != Reproduction.reproduction_id,
    )


def _was_begun(run: type[Reproduction]) -> ColumnElement[bool]:
    """Whether a worker did more for any attempt than have it wait behind others of its batch."""
    return exists().where(
        Attempt.reproduction_id == run.reproduction_id,
        # When it began is not known of early ones.
        or_(Attempt.begun_at.is_not(None), Attempt.stage != Stage.WAITING),
    )
