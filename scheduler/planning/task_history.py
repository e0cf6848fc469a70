"""What earlier runs of a task tell before the next: how many samples it has, and what they cost."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Reproduction
from scheduler.state_machine import ReproductionState
from specs.judging.noise import model_class
from specs.policy.cost import EarlierRun

COSTS_READ = 40
"""The latest runs of a task that are looked at for what they took."""

COSTS_COUNTED = 8
"""Of those, the latest of models of the same class."""


class KnownSamples(NamedTuple):
    """How many samples a task has, and who says so."""

    samples: int
    source: Literal["measured", "dataset card"]


def known_samples(
    session: Session, dataset_id: str, revision: str, task_id: str | None, card_samples: int | None
) -> KnownSamples | None:
    """As a completed reproduction found, else as the dataset's card says; None where neither does."""
    measured = session.scalar(
        select(Reproduction.population)
        .where(*_completed(dataset_id, revision, task_id), Reproduction.population.is_not(None))
        .order_by(Reproduction.since.desc())
        .limit(1)
    )
    if measured is not None:
        return KnownSamples(measured, "measured")
    return KnownSamples(card_samples, "dataset card") if card_samples is not None else None


def earlier_runs(
    session: Session, dataset_id: str, revision: str, task_id: str | None, own: str | None, at_most: int
) -> int:
    """How many completed reproductions there are of the very same samples, of any model; not counted any further.

    `own` is the run that they are to predict answers of, which is none of them.
    """
    found = (
        select(Reproduction.reproduction_id)
        .where(*_completed(dataset_id, revision, task_id), Reproduction.reproduction_id != (own or ""))
        .limit(at_most)
    )
    return session.scalar(select(func.count()).select_from(found.subquery())) or 0


def _completed(dataset_id: str, revision: str, task_id: str | None) -> tuple[ColumnElement[bool], ...]:
    return (
        Reproduction.dataset_id == dataset_id,
        Reproduction.dataset_revision == revision,
        _of_task(task_id),
        Reproduction.state == ReproductionState.COMPLETED,
    )


def earlier_costs(
    session: Session, dataset_id: str, task_id: str | None, weights_bytes: int, pool: str
) -> list[EarlierRun]:
    """What the latest completed reproductions of a task took in a pool, of models of the same class."""
    rows = session.execute(
        select(
            Reproduction.weights_bytes,
            func.coalesce(Reproduction.settings["held_gpus"].as_integer(), Reproduction.settings["gpus"].as_integer()),
            Reproduction.engine_seconds,
            Reproduction.answers,
        )
        .where(
            Reproduction.dataset_id == dataset_id,
            _of_task(task_id),
            Reproduction.pool == pool,
            Reproduction.state == ReproductionState.COMPLETED,
            Reproduction.engine_seconds.is_not(None),
        )
        .order_by(Reproduction.since.desc())
        .limit(COSTS_READ)
    ).all()
    return [
        EarlierRun(size, gpus or 0, seconds, answers)
        for size, gpus, seconds, answers in rows
        if model_class(size) == model_class(weights_bytes)
    ][:COSTS_COUNTED]


def _of_task(task_id: str | None) -> ColumnElement[bool]:
    # PostgreSQL looks for "is not distinct from" in no index.
    return Reproduction.task_id == task_id if task_id is not None else Reproduction.task_id.is_(None)
