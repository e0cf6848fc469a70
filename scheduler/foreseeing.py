"""What the farm already knows of a task whose samples it is yet to run."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Reproduction
from scheduler.machine import ReproductionState


class KnownSamples(NamedTuple):
    """How many samples a task has, and who says so."""

    samples: int
    source: Literal["measured", "dataset card"]


def known_samples(
    session: Session, dataset_id: str, revision: str, task_id: str | None, card_samples: int | None
) -> KnownSamples | None:
    """As a completed reproduction found, else as the dataset's card says; None where neither does."""
    population = Reproduction.measurement["population"].as_integer()
    measured = session.scalar(
        select(population)
        .where(*_completed(dataset_id, revision, task_id), population.is_not(None))
        .order_by(Reproduction.since.desc())
        .limit(1)
    )
    if measured is not None:
        return KnownSamples(measured, "measured")
    return KnownSamples(card_samples, "dataset card") if card_samples is not None else None


def earlier_runs(session: Session, dataset_id: str, revision: str, task_id: str | None) -> int:
    """How many completed reproductions there are of the very same samples, of any model."""
    query = select(func.count()).select_from(Reproduction).where(*_completed(dataset_id, revision, task_id))
    return session.scalar(query) or 0


def _completed(dataset_id: str, revision: str, task_id: str | None) -> tuple[ColumnElement[bool], ...]:
    return (
        Reproduction.dataset_id == dataset_id,
        Reproduction.dataset_revision == revision,
        Reproduction.task_id.is_not_distinct_from(task_id),
        Reproduction.state == ReproductionState.COMPLETED,
    )
