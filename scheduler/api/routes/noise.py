"""The noise ledger: by how much honest re-runs of a task differ."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from scheduler.api import pages
from scheduler.api.dependencies import Reading
from scheduler.database.tables import NoisePair
from scheduler.judging import noise
from specs.api_v1.noise import NoiseGroup, NoiseView
from specs.api_v1.views import Page
from specs.judging.tolerance import measured_tolerance

router = APIRouter(prefix="/v1/noise", tags=["noise"])


# A null would stand outside of every order.
TASK = func.coalesce(NoisePair.task_id, "")


@router.get("")
def list_noise(
    session: Reading,
    dataset: pages.Filter = None,
    task: pages.Filter = None,
    cursor: Annotated[str | None, Query(max_length=401, description="The `next` of the part before.")] = None,
    limit: pages.Limit = 50,
) -> Page[NoiseView]:
    """Tasks of which at least two honest runs were seen, by benchmark and task."""
    # Grouped instead of distinct, which PostgreSQL would not order by an expression.
    each_once = (NoisePair.dataset_id, NoisePair.task_id)
    about = pages.fitting((NoisePair.dataset_id, dataset), (NoisePair.task_id, task))
    query = select(*each_once).where(*about).group_by(*each_once).order_by(NoisePair.dataset_id, TASK)
    if cursor is not None:
        # Ids of datasets have no spaces.
        last_dataset, _, last_task = cursor.partition(" ")
        query = query.where(tuple_(NoisePair.dataset_id, TASK) > tuple_(last_dataset, last_task))
    rows = session.execute(query.limit(limit + 1)).all()
    return pages.page(
        Page[NoiseView],
        rows,
        limit,
        lambda row: _view(session, row.dataset_id, row.task_id),
        lambda row: f"{row.dataset_id} {row.task_id or ''}",
    )


def _view(session: Session, dataset_id: str, task_id: str | None) -> NoiseView:
    rows = noise.latest_pairs(session, dataset_id, task_id)
    by_settings: dict[tuple[str, int], list[NoisePair]] = defaultdict(list)
    for row in rows:
        by_settings[row.settings_sha256, row.epochs].append(row)
    population = rows[0].population
    groups = [group for same in by_settings.values() for group in _groups(same, population)]
    return NoiseView(dataset=dataset_id, task=task_id, population=population, groups=tuple(groups))


def _groups(rows: list[NoisePair], population: int) -> Iterator[NoiseGroup]:
    """Those of one digest of settings, and of as many epochs."""
    by_group = noise.grouped(rows)
    for group in sorted(by_group, key=_wide_to_narrow):
        found = noise.noise_of_rows(by_group[group])
        if found is None:
            continue
        spread = found.spread(population)
        yield NoiseGroup(
            settings_sha256=rows[0].settings_sha256,
            epochs=rows[0].epochs,
            model_class=group.model_class,
            engines=group.engines,
            hardware=group.hardware,
            pairs=found.pairs,
            comparisons=found.comparisons,
            models=found.models,
            samples=found.samples,
            mean_difference=found.mean_difference,
            mean_square=found.mean_square,
            shift=math.sqrt(found.shift_variance),
            spread=spread,
            tolerance=measured_tolerance(spread) if spread is not None else None,
        )


def _wide_to_narrow(group: noise.Group) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return group.model_class or "", group.engines or (), group.hardware or ()
