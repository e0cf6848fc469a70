"""What a reproduction counts as in a budget once it is complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.admission.budgets import settle
from scheduler.database.tables import Attempt, Reproduction
from scheduler.state_machine import ReproductionState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WHAT_IT_ASKED: dict[str, Any] = {"population": 10, "sample_ids": [1], "ignored": 0, "circumstances": {"epochs": 1}}


RESUMED = {"sha256": "ab" * 32, "answers": 10, "samples": 10}


def settled(
    resumed: dict[str, Any] | None,
    settings: dict[str, Any] | None = None,
    *,
    waited: float | None = None,
    **measured: float,
) -> float:
    """GPU-seconds of a run whose last part took 100 s, on two GPUs unless `settings` have others.

    The part before it took 300 s, of which it `waited` behind others of its batch, as far as that is known.
    """
    measurement = {
        **WHAT_IT_ASKED,
        "started_at": NOON.isoformat(),
        "ended_at": (NOON + timedelta(seconds=100)).isoformat(),
        "resumed": resumed,
        **measured,
    }
    stopped = {"started_at": NOON - timedelta(seconds=400), "ended_at": NOON - timedelta(seconds=100)}
    if waited is not None:
        stopped["begun_at"] = stopped["started_at"] + timedelta(seconds=waited)
    reproduction = Reproduction(
        state=ReproductionState.COMPLETED,
        measurement=measurement,
        settings=settings or {"gpus": 2},
        weights_bytes=10**9,
    )
    reproduction.attempts = [
        Attempt(number=1, partial_sha256="ab" * 32, **stopped),
        Attempt(number=2, partial_sha256=None, **stopped),
    ]
    settle(reproduction)
    assert reproduction.gpu_seconds is not None
    return reproduction.gpu_seconds


def test_a_run_that_was_gone_on_with_counts_the_parts_before_it_too() -> None:
    assert settled(RESUMED) - settled(None) == 2 * 300


def test_a_part_that_waited_behind_others_of_its_batch_counts_from_when_it_began() -> None:
    assert settled(RESUMED, waited=200) - settled(None) == 2 * 100


def test_gpus_that_a_worker_holds_count_whether_or_not_the_model_is_on_them() -> None:
    assert settled(None, {"gpus": 1, "held_gpus": 2}) == settled(None)
    # As it was kept before the two were told apart.
    assert settled(None, {"gpus": 2, "held_gpus": None}) == settled(None)
    assert settled(None, {"gpus": 1, "held_gpus": 8}) == 4 * settled(None)


def test_a_run_beside_another_counts_its_share_of_the_engine() -> None:
    assert settled(None) - settled(None, engine_share=0.6) == 2 * 40
    assert settled(RESUMED) - settled(RESUMED, engine_share=0.6) == pytest.approx(2 * (40 + 120))
