"""May a claim be run, as what, and how will it be judged? Pure: facts in, an answer with its reason out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import rfc8785
from pydantic import Field

from scheduler.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY
from specs.dataset_card import Sizes, samples_of
from specs.eval_yaml import Spec, SpecStatus, TaskSpec
from specs.forecast import Foreseen
from specs.generation import GenerationSettings
from specs.model import Contract
from specs.noise import MeasuredSpread
from specs.policy import EngineRules, JudgeEndpoint, Mode, Policy, PoolRules, Scale, VerificationRules
from specs.scale import as_proportion
from specs.text import clean
from specs.tolerance import measured_tolerance

GIB = 2**30
WEIGHTS_OVERHEAD = 1.2
"""Weights in memory against weights on disk: activations, and buffers of the engine."""

MAX_LISTED_IDS = 20


class Rules(Contract):
    """How a claim will be judged, fixed before its reproduction runs."""

    scale: Scale
    scale_source: Literal["policy", "leaderboard"]
    claimed: float
    """The claimed value as a proportion."""

    tolerance: float | None
    """Absolute, as a proportion; None is `specs.stopping.tolerance_for` of the samples that there turn out to be."""

    tolerance_source: Literal["policy", "measured", "chance"]
    spread: float | None
    """Standard deviation of the difference between two honest full runs, as measured; None where it is not known."""

    spread_source: str | None = None
    """What that was measured on, in words."""

    policy_sha256: str


class RunSettings(Contract):
    """What decides a reproduction besides the model and the spec."""

    engine: EngineRules
    gpus: int = Field(ge=0)
    generation: GenerationSettings
    epochs: int | None
    sample_limit: int | None
    mode: Mode
    alpha: float
    minimum_samples: int
    maximum_failed_fraction: float
    history: bool
    """Whether earlier runs may predict answers."""

    allow_self_judge: bool
    judges: dict[str, JudgeEndpoint]


@dataclass(frozen=True)
class ClaimFacts:
    """What a claim says."""

    model_id: str
    dataset_id: str
    task_id: str | None
    value: float
    community: bool
    asked_priority: int | None = None
    """Of a re-verification; None is by who submitted the claim."""

    @property
    def priority(self) -> int:
        """Lower goes first."""
        if self.asked_priority is not None:
            return self.asked_priority
        return COMMUNITY_PRIORITY if self.community else AUTHOR_PRIORITY


@dataclass(frozen=True)
class BenchmarkFacts:
    """What is known of the benchmark that a claim names, at the revision it names."""

    watched: bool
    revision: str | None
    spec: Spec | None
    """None where the dataset has no eval.yaml there."""

    gated: bool
    has_percent: bool
    spread: MeasuredSpread | None = None
    """What the noise ledger says of two honest full runs; None where it holds too little."""

    sizes: Sizes = field(default_factory=dict)
    """What the dataset's card says at that revision; empty where it says nothing or was not read."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of the model."""

    weights_sha256: str
    weights_bytes: int | None
    gated: bool


@dataclass(frozen=True)
class Run:
    """It can be run."""

    key: str
    """Claims with the same key share one reproduction."""

    task_id: str | None
    settings: RunSettings
    rules: Rules
    pool: PoolRules
    priority: int


@dataclass(frozen=True)
class Blocked:
    """It waits for somebody."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """This farm will never run it."""

    reason: str


def admit(
    claim: ClaimFacts, benchmark: BenchmarkFacts, model: ModelFacts, policy: Policy, *, has_token: bool
) -> Run | Blocked | Refused:
    """Decide what to do with a claim. The first obstacle is the answer."""
    task = _task(claim, benchmark)
    if isinstance(task, Refused):
        return task
    for kind, repo_id, gated in (
        ("dataset", claim.dataset_id, benchmark.gated),
        ("model", claim.model_id, model.gated),
    ):
        if gated and not has_token:
            return Blocked(
                f"the {kind} {repo_id} is gated: the farm's operator must accept its terms on the Hub and set a token"
            )
    judges = _judges(task, policy)
    if isinstance(judges, Blocked):
        return judges
    pool = _smallest_pool(model, policy)
    if isinstance(pool, Refused):
        return pool
    rules = policy.rules_for(claim.dataset_id, task.id)
    judged = _judged_by(claim, benchmark, rules, policy)
    if isinstance(judged, Refused):
        return judged
    settings = RunSettings(
        engine=policy.engine,
        gpus=pool.gpus,
        generation=rules.generation,
        epochs=rules.epochs,
        sample_limit=rules.sample_limit,
        mode=rules.mode,
        alpha=rules.alpha,
        minimum_samples=rules.minimum_samples,
        maximum_failed_fraction=rules.maximum_failed_fraction,
        history=rules.history,
        allow_self_judge=policy.judges.allow_self,
        judges=judges,
    )
    return Run(
        key=_key(claim, benchmark, model, task.id, settings),
        task_id=task.id,
        settings=settings,
        rules=judged,
        pool=pool,
        priority=claim.priority,
    )


def foresee(
    claim: ClaimFacts, benchmark: BenchmarkFacts, policy: Policy, fixed: Rules | None = None
) -> Foreseen | None:
    """How a claim will be judged, by what was `fixed`, else once nothing blocks it; None where it never will be."""
    task = _task(claim, benchmark)
    if isinstance(task, Refused) or task.definition is None or benchmark.revision is None:
        return None
    rules = policy.rules_for(claim.dataset_id, task.id)
    judged = fixed or _judged_by(claim, benchmark, rules, policy)
    if isinstance(judged, Refused):
        return None
    return Foreseen(
        dataset_revision=benchmark.revision,
        task_id=task.id,
        claimed=judged.claimed,
        tolerance=judged.tolerance,
        spread=judged.spread,
        mode=rules.mode,
        alpha=rules.alpha,
        minimum_samples=rules.minimum_samples,
        maximum_failed_fraction=rules.maximum_failed_fraction,
        sample_limit=rules.sample_limit,
        epochs=rules.epochs or task.definition.epochs,
        history=rules.history,
        card_samples=samples_of(benchmark.sizes, task.definition.config, task.definition.split),
    )


def _task(claim: ClaimFacts, benchmark: BenchmarkFacts) -> TaskSpec | Refused:
    spec = _spec(claim, benchmark)
    if isinstance(spec, Refused):
        return spec
    task = spec.task(claim.task_id)
    if task is None:
        wanted = "names no task" if claim.task_id is None else f"names the task {claim.task_id!r}"
        listed = ", ".join([found.id or "(without id)" for found in spec.tasks][:MAX_LISTED_IDS])
        return Refused(clean(f"the claim {wanted}; the eval.yaml of {claim.dataset_id} defines: {listed}", 2000))
    if task.status is SpecStatus.UNSUPPORTED:
        return Refused("; ".join(task.reasons))
    if task.status is SpecStatus.INVALID or task.definition is None:
        return Refused(f"the eval.yaml of {claim.dataset_id} cannot be run: {'; '.join(task.reasons)}")
    return task


def _spec(claim: ClaimFacts, benchmark: BenchmarkFacts) -> Spec | Refused:
    spec = benchmark.spec
    if not benchmark.watched:
        return Refused(f"{claim.dataset_id} is not among the benchmarks that this farm watches")
    if spec is None:
        return Refused(f"{claim.dataset_id} has no eval.yaml at {benchmark.revision}, so nothing says how to run it")
    if not spec.tasks:
        return Refused(f"the eval.yaml of {claim.dataset_id} cannot be run: {'; '.join(spec.reasons)}")
    if all(task.status is SpecStatus.UNSUPPORTED for task in spec.tasks):
        return Refused("; ".join(spec.reasons))
    return spec


def _judges(task: TaskSpec, policy: Policy) -> dict[str, JudgeEndpoint] | Blocked:
    found: dict[str, JudgeEndpoint] = {}
    for name in task.judges:
        if name is None:
            if not policy.judges.allow_self:
                return Blocked("needs a judge: the spec names none, and policy lets no model judge itself")
            continue
        endpoint = policy.judges.endpoints.get(name)
        if endpoint is None:
            return Blocked(f"needs judge {clean(name, 100)}: the operator's policy names no endpoint for it")
        found[name] = endpoint
    return found


def _smallest_pool(model: ModelFacts, policy: Policy) -> PoolRules | Refused:
    if model.weights_bytes is None:
        return Refused("the model repo holds no safetensors weights, and this farm loads no other format")
    cache_gib = policy.engine.kv_cache_gib
    needed_gib = model.weights_bytes * WEIGHTS_OVERHEAD / GIB + cache_gib
    fitting = [pool for pool in policy.pools if pool.capacity_gib >= needed_gib]
    if not fitting:
        largest = max(policy.pools, key=lambda pool: pool.capacity_gib)
        return Refused(
            f"the model needs about {needed_gib:.0f} GiB, and the largest pool, {largest.name}, "
            f"has {largest.capacity_gib:.0f} GiB"
        )
    return min(fitting, key=lambda pool: pool.capacity_gib)


def _judged_by(
    claim: ClaimFacts, benchmark: BenchmarkFacts, rules: VerificationRules, policy: Policy
) -> Rules | Refused:
    scale: Scale = rules.scale or ("percent" if benchmark.has_percent else "fraction")
    source: Literal["policy", "leaderboard"] = "policy" if rules.scale else "leaderboard"
    claimed = as_proportion(claim.value, scale)
    if claimed is None:
        return Refused(f"the claimed {claim.value} is no score: {claim.dataset_id} is scored as a {scale} ({source})")
    measured = benchmark.spread
    tolerance, tolerance_source = _tolerance(rules, measured)
    return Rules(
        scale=scale,
        scale_source=source,
        claimed=claimed,
        tolerance=tolerance,
        tolerance_source=tolerance_source,
        spread=measured.spread if measured else None,
        spread_source=measured.source if measured else None,
        policy_sha256=policy.sha256,
    )


def _tolerance(
    rules: VerificationRules, measured: MeasuredSpread | None
) -> tuple[float | None, Literal["policy", "measured", "chance"]]:
    if isinstance(rules.tolerance, float):
        return rules.tolerance, "policy"
    if rules.tolerance == "measured" and measured is not None:
        return measured_tolerance(measured.spread), "measured"
    return None, "chance"


def _key(
    claim: ClaimFacts, benchmark: BenchmarkFacts, model: ModelFacts, task_id: str | None, settings: RunSettings
) -> str:
    facts = {
        "model": claim.model_id,
        "weights": model.weights_sha256,
        "dataset": claim.dataset_id,
        "revision": benchmark.revision,
        "task": task_id,
        "settings": settings.model_dump(mode="json"),
    }
    return hashlib.sha256(rfc8785.dumps(facts)).hexdigest()
