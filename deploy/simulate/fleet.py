"""A thousand GPUs in four pools, and where and for how long each reproduction runs by the farm's own reckoning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from deploy.simulate.arrivals import SCORES, Submission
from deploy.simulate.judged import VERIFICATION
from deploy.simulate.sizes import Family, SimulatedTask
from scheduler.admission.placement import NoRoom, TaskNeed, place
from specs.judging.forecast import Foreseen, samples_if_true
from specs.policy.cost import Work, asking_seconds, estimate, start_seconds
from specs.policy.engine import EngineRules
from specs.policy.pools import PoolRules

PROMPT_TOKENS = 2048


@dataclass(frozen=True)
class Pool:
    """Workers of one kind."""

    rules: PoolRules
    workers: int
    host_gib: int
    """Memory of a worker's host, as such machines are offered for rent."""

    @property
    def gpus(self) -> int:
        """Of all its workers."""
        return self.rules.gpus * self.workers


FLEET = (
    Pool(PoolRules(name="gpu-24", gpus=1, memory_gib=24.0), 320, 64),
    Pool(PoolRules(name="gpu-80", gpus=1, memory_gib=80.0), 280, 170),
    Pool(PoolRules(name="gpu-80x4", gpus=4, memory_gib=80.0), 50, 680),
    Pool(PoolRules(name="gpu-141x8", gpus=8, memory_gib=141.0), 25, 2048),
)
"""1,000 GPUs."""

ENGINE = EngineRules(concurrency=64)


@dataclass(frozen=True)
class Need:
    """What a reproduction takes."""

    pool: str
    weights_bytes: int
    load_seconds: float
    """For its engine to come up."""

    run_seconds: float
    """Of asking, by itself."""

    answers: float
    """That it is taken to wait for."""

    @property
    def answer_seconds(self) -> float:
        """From a request to its answer, beside as many as the engine takes at once."""
        return self.run_seconds * ENGINE.concurrency / self.answers


def smaller(fleet: tuple[Pool, ...], part: float) -> tuple[Pool, ...]:
    """The same mix with a part of the workers, one of each kind at least."""
    return tuple(replace(pool, workers=max(round(pool.workers * part), 1)) for pool in fleet)


def need_of(submission: Submission, *, every_sample: bool = False) -> Need | None:
    """Where it runs, and what the farm takes its run to need for this claim alone; None where it fits nowhere.

    That is what a true claim needs, since the farm does not know better, or `every_sample`.
    """
    # Reckoned once for scores that are hardly apart.
    claimed = round(SCORES * submission.claimed) / SCORES
    return _need(submission.model.family, submission.task, claimed, every_sample)


@cache
def _need(family: Family, task: SimulatedTask, claimed: float, every_sample: bool) -> Need | None:
    placed = place(family.size, ENGINE, TaskNeed(PROMPT_TOKENS, task.max_tokens), [pool.rules for pool in FLEET])
    if isinstance(placed, NoRoom):
        return None
    weights = family.size.file_bytes
    samples = task.samples if every_sample else _samples(task, claimed)
    work = Work(
        weights_bytes=weights,
        gpus=placed.gpus,
        held_gpus=placed.pool.gpus,
        samples=samples,
        epochs=task.epochs,
        max_tokens=task.max_tokens,
        concurrency=ENGINE.concurrency,
    )
    return Need(
        pool=placed.pool.name,
        weights_bytes=weights,
        load_seconds=start_seconds(weights),
        run_seconds=asking_seconds(estimate(work, ()).gpu_seconds, weights, placed.pool.gpus),
        answers=samples * task.epochs,
    )


@cache
def _samples(task: SimulatedTask, claimed: float) -> float:
    """That judging a true claim takes, stopped early as the farm does."""
    foreseen = Foreseen(
        dataset_revision="0" * 40,
        task_id=None,
        claimed=claimed,
        tolerance=None,
        spread=None,
        mode=VERIFICATION.mode,
        alpha=VERIFICATION.alpha,
        minimum_samples=VERIFICATION.minimum_samples,
        maximum_failed_fraction=VERIFICATION.maximum_failed_fraction,
        sample_limit=None,
        epochs=task.epochs,
        history=False,
        card_samples=task.samples,
    )
    return samples_if_true(foreseen, task.samples)
