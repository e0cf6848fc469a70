"""What earlier runs of a task tell before the next: how many samples it has, and what they cost."""

from __future__ import annotations

from datetime import datetime
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


def earlier_costs(
    session: Session, dataset_id: str, task_id: str | None, weights_bytes: int, pool: str
) -> list[EarlierRun]:
    """What the latest completed reproductions of a task took in a pool, of models of the same class."""
    measured = Reproduction.measurement
    rows = session.execute(
        select(
            Reproduction.weights_bytes,
            func.coalesce(Reproduction.settings["held_gpus"].as_integer(), Reproduction.settings["gpus"].as_integer()),
            measured["started_at"].as_string(),
            measured["ended_at"].as_string(),
            measured["engine_share"].as_float(),
            func.json_array_length(measured["sample_ids"]),
            measured["ignored"].as_integer(),
            measured["circumstances"]["epochs"].as_integer(),
        )
        .where(
            Reproduction.dataset_id == dataset_id,
            Reproduction.task_id.is_not_distinct_from(task_id),
            Reproduction.pool == pool,
            Reproduction.state == ReproductionState.COMPLETED,
            measured.is_not(None),
            # The times of one that went on from an earlier attempt are those of its last part alone.
            measured["resumed"]["samples"].as_integer().is_(None),
        )
        .order_by(Reproduction.since.desc())
        .limit(COSTS_READ)
    ).all()
    return [
        EarlierRun(
            size,
            gpus or 0,
            _seconds_between(start, end) * (1.0 if share is None else share),
            (counted + ignored) * epochs,
        )
        for size, gpus, start, end, share, counted, ignored, epochs in rows
        if model_class(size) == model_class(weights_bytes)
    ][:COSTS_COUNTED]


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
