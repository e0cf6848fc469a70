"""The noise ledger: how much honest re-runs differ, kept pair by pair as reproductions complete.

Two reproductions are a pair where the weights, the dataset revision, the task and all settings that may change answers
are the same, and the seeds are not. Which hardware, which version of the engine, how many GPUs and how many requests at
once may differ between them: whoever makes a claim had others too, so that is part of the noise. Runs of one seed are
no pair: every request of theirs carries that seed, so that sampling repeats and they look less noisy than re-runs are.
Nor are runs that were greedy because the model's own configuration says so, where others under the same policy sample,
nor those whose spec gives every answer one seed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785
from sqlalchemy import String, bindparam, select
from sqlalchemy.orm import Session, joinedload

from scheduler.database.tables import NoisePair, Reproduction
from scheduler.state_machine import ReproductionState
from specs.judging.noise import Difference, MeasuredNoise, Noise, Pair, difference, model_class, noise_in
from specs.measurement import stored_scores
from specs.policy.generation import SamplingSource, greedy_by
from specs.text import clean

EARLIER_RUNS = 8
"""The latest runs of the same weights and samples that are looked at."""

PAIRS_OF_A_RUN = 4
"""What a run is paired with at most: further pairs of the same runs say little more."""

PAIRS_READ = 400
"""The latest pairs of a task that are put together."""

PAIRS_OF_ONE_AUTHOR = 10
"""Of those, the latest of one namespace on the Hub, and of the same weights whoever has them: a model that is run again
and again does not speak for all others, nor do its copies with another README."""

CHANGE_NO_ANSWER = frozenset(
    {"gpus", "held_gpus", "sample_limit", "mode", "alpha", "minimum_samples", "maximum_failed_fraction", "history"}
)
"""Settings of a run that may differ within a pair. A setting that is not here may not."""

CHANGE_NO_ANSWER_OF_ENGINE = frozenset(
    {"enforce_eager", "concurrency", "start_seconds", "kv_cache_gib", "check_template"}
)

BY_THE_MODEL: SamplingSource = "generation_config"
BY_THE_SPEC: SamplingSource = "spec"

UNKNOWN = "unknown"
MAX_HARDWARE_CHARS = 500
MAX_VERSION_CHARS = 100


@dataclass(frozen=True, order=True)
class Group:
    """The circumstances that a group of pairs has in common; None where it takes any."""

    model_class: str | None
    engines: tuple[str, ...] | None
    """Versions of vLLM: one where both runs of a pair had the same, else both."""

    hardware: tuple[str, ...] | None

    def __str__(self) -> str:
        """In words."""
        said = [f"models {self.model_class}" if self.model_class else "models of any size"]
        if self.engines:
            said.append(f"vLLM {' and '.join(self.engines)}")
        if self.hardware:
            said.append(" and ".join(self.hardware))
        return ", ".join(said)


@dataclass(frozen=True)
class Planned:
    """A run to be, as far as its noise depends on it."""

    dataset_id: str
    dataset_revision: str
    task_id: str | None
    settings: Mapping[str, Any]
    epochs: int
    weights_bytes: int


def settings_sha256(settings: Mapping[str, Any]) -> str:
    """Digest of the settings of a run (a `RunSettings` as JSON) that may change its answers or their scores."""
    kept = {name: value for name, value in settings.items() if name not in CHANGE_NO_ANSWER}
    engine = kept.get("engine", {}).items()
    kept["engine"] = {name: value for name, value in engine if name not in CHANGE_NO_ANSWER_OF_ENGINE}
    for name, unset in (("batch_invariant", "off"), ("reasoning_parser", None)):
        if kept["engine"].get(name) == unset:
            # Runs from before there was such a setting are alike.
            kept["engine"].pop(name, None)
    return hashlib.sha256(rfc8785.dumps(kept)).hexdigest()


def record(session: Session, reproduction: Reproduction) -> None:
    """Enter a completed reproduction, beside earlier ones like it. Doing so again changes nothing.

    Two that complete at the same moment may not see each other; the ledger then lacks a pair.
    """
    if not _may_count(reproduction):
        return
    others = _earlier_runs(session, reproduction)
    if not others:
        return
    settings, scores = settings_sha256(reproduction.settings), stored_scores(reproduction.measurement or {})
    paired = 0
    for earlier in others:
        if paired == PAIRS_OF_A_RUN:
            return
        if settings_sha256(earlier.settings) != settings or not _may_count(earlier):
            continue
        found = difference(scores, stored_scores(earlier.measurement or {}))
        if earlier.seed == reproduction.seed or found is None:
            continue
        session.merge(_row(reproduction, earlier, settings, found))
        paired += 1


def noise_for(session: Session, planned: Planned) -> MeasuredNoise | None:
    """By how much two honest full runs like a planned one differ; None where too little is known.

    From the pairs on its task under its settings, of models of its class, else of any size. On whatever hardware and
    version of the engine: who made a claim had others than this farm.
    """
    latest = latest_pairs(session, planned.dataset_id, planned.task_id, settings_sha256(planned.settings))
    rows = [row for row in latest if row.epochs == planned.epochs]
    if not rows:
        return None
    population = next((row for row in rows if row.dataset_revision == planned.dataset_revision), rows[0]).population
    size = model_class(planned.weights_bytes)
    for group in (Group(size, None, None), Group(None, None, None)):
        noise = noise_of_rows(row for row in rows if group.model_class in (None, row.model_class))
        if noise is not None and noise.spread(population) is not None:
            return MeasuredNoise(noise, population, f"{noise.pairs} pairs of runs ({group})")
    return None


def latest_pairs(
    session: Session, dataset_id: str, task_id: str | None, settings: str | None = None
) -> Sequence[NoisePair]:
    """The latest pairs on a task, newest first; of one digest of settings, or of all."""
    whose = joinedload(NoisePair.reproduction, innerjoin=True).load_only(Reproduction.model_id)
    query = select(NoisePair).options(whose)
    query = query.where(NoisePair.dataset_id == dataset_id, NoisePair.task_id.is_not_distinct_from(task_id))
    if settings is not None:
        query = query.where(NoisePair.settings_sha256 == settings)
    newest_first = (NoisePair.recorded_at.desc(), NoisePair.reproduction_id, NoisePair.earlier_id)
    return session.scalars(query.order_by(*newest_first).limit(PAIRS_READ)).all()


def grouped(rows: Iterable[NoisePair]) -> dict[Group, list[NoisePair]]:
    """Pairs by what they have in common, from the narrowest circumstances to any; each pair stands in four groups."""
    found: dict[Group, list[NoisePair]] = defaultdict(list)
    for row in rows:
        engines = tuple(sorted({row.engine, row.earlier_engine}))
        hardware = tuple(sorted({row.hardware, row.earlier_hardware}))
        for group in (
            Group(row.model_class, engines, hardware),
            Group(row.model_class, engines, None),
            Group(row.model_class, None, None),
            Group(None, None, None),
        ):
            found[group].append(row)
    return found


def noise_of_rows(rows: Iterable[NoisePair]) -> Noise | None:
    """What pairs, newest first, say together; None where there are none."""
    taken: Counter[str] = Counter()
    pairs = []
    for row in rows:
        # One that a control worker of an earlier version entered, while this one came up, has no mean score.
        if row.mean_score is None:
            continue
        author = row.reproduction.model_id.partition("/")[0]
        if max(taken[author], taken[row.weights_sha256]) < PAIRS_OF_ONE_AUTHOR:
            taken.update((author, row.weights_sha256))
            found = Difference(row.samples, row.mean_difference, row.mean_square, row.mean_score)
            pairs.append(Pair(row.reproduction_id, row.earlier_id, row.weights_sha256, author, found))
    return noise_in(pairs) if pairs else None


_EARLIER = (
    select(Reproduction)
    .where(
        Reproduction.weights_sha256 == bindparam("weights_sha256"),
        Reproduction.dataset_id == bindparam("dataset_id"),
        Reproduction.dataset_revision == bindparam("dataset_revision"),
        Reproduction.task_id.is_not_distinct_from(bindparam("task_id", type_=String)),
        Reproduction.state == ReproductionState.COMPLETED,
        Reproduction.reproduction_id != bindparam("reproduction_id"),
    )
    .order_by(Reproduction.since.desc())
    .limit(EARLIER_RUNS)
)
"""Made once: every report asks it."""


def _earlier_runs(session: Session, reproduction: Reproduction) -> Sequence[Reproduction]:
    """The latest completed reproductions of the same weights on the same samples, newest first."""
    asked = ("weights_sha256", "dataset_id", "dataset_revision", "task_id", "reproduction_id")
    return session.scalars(_EARLIER, {name: getattr(reproduction, name) for name in asked}).all()


def _may_count(run: Reproduction) -> bool:
    """Whether it tells how noisy such runs are: enough samples have a score, and it sampled if others are free to."""
    measured = run.measurement or {}
    scores, generation = measured["sample_scores"], measured["circumstances"]["generation"]
    failed = sum(score is None for score in scores)
    if failed > run.settings["maximum_failed_fraction"] * len(scores):
        return False
    sources = generation["sources"]
    greedy = greedy_by(generation["temperature"], generation["top_k"])
    greedy_by_itself = any(sources.get(name) == BY_THE_MODEL for name in greedy)
    return not greedy_by_itself and sources.get("seed") != BY_THE_SPEC


def _row(later: Reproduction, earlier: Reproduction, settings: str, found: Difference) -> NoisePair:
    engine, hardware = _ran_on(later)
    earlier_engine, earlier_hardware = _ran_on(earlier)
    measured = later.measurement or {}
    return NoisePair(
        reproduction_id=later.reproduction_id,
        earlier_id=earlier.reproduction_id,
        dataset_id=later.dataset_id,
        dataset_revision=later.dataset_revision,
        task_id=later.task_id,
        weights_sha256=later.weights_sha256,
        settings_sha256=settings,
        epochs=measured["circumstances"]["epochs"],
        model_class=model_class(later.weights_bytes),
        pool=later.pool,
        engine=engine,
        earlier_engine=earlier_engine,
        hardware=hardware,
        earlier_hardware=earlier_hardware,
        population=measured["population"],
        samples=found.samples,
        mean_difference=found.mean,
        mean_square=found.mean_square,
        mean_score=found.score,
    )


def _ran_on(run: Reproduction) -> tuple[str, str]:
    """Version of the engine, and hardware, as the worker said them."""
    said = (run.measurement or {})["circumstances"]
    return (
        clean(said["versions"].get("vllm", UNKNOWN), MAX_VERSION_CHARS),
        clean(said["hardware"], MAX_HARDWARE_CHARS) or UNKNOWN,
    )
