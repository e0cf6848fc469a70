"""All epochs of a sample before the next sample, since a sample counts once it has all its answers.

Inspect (0.3.285) asks every sample once before it asks any of them again: a run of four epochs that is sure after
twenty samples would by then have asked all samples three times. Which answers there are, and their seeds, do not depend
on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from inspect_ai._eval.task import run as inspect_run
from inspect_ai._eval.task.scheduler import SampleScheduler


class _SampleBySample(SampleScheduler):
    async def run(
        self, plan: list[tuple[int, int]], run_sample: Callable[..., Awaitable[Any]], **more: Any
    ) -> dict[tuple[int, int], Any]:
        # Pairs of a sample's place in the dataset and an epoch.
        return await super().run(sorted(plan), run_sample, **more)


def ask_epochs_together() -> None:
    """Have the run of this process ask so."""
    inspect_run.SampleScheduler = _SampleBySample  # type: ignore[attr-defined]
