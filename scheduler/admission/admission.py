"""May a claim be run, as what, and how will it be judged? Pure: facts in, an answer with its reason out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import rfc8785

from scheduler.admission.facts import BenchmarkFacts, ClaimFacts, ModelFacts
from scheduler.admission.judging_rules import JudgingRules
from scheduler.admission.placement import NoRoom, Placement, TaskNeed, place, place_in
from scheduler.admission.run_settings import RunSettings
from specs.epochs import MEAN, epochs_needed, same_by_any_number
from specs.hub.dataset_card import samples_of
from specs.hub.eval_yaml import Spec, SpecStatus, TaskSpec
from specs.hub.task_spec import epochs_repeat, turns_of
from specs.judging.forecast import Foreseen
from specs.judging.scale import as_proportion
from specs.judging.tolerance import measured_tolerance
from specs.policy.engine import EngineRules
from specs.policy.judges import JudgeEndpoint
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.policy.verification import Scale, VerificationRules
from specs.text import clean

MAX_LISTED_IDS = 20


@dataclass(frozen=True)
class Admitted:
    """It can be run."""

    key: str
    """Claims with the same key share one reproduction."""

    task_id: str | None
    settings: RunSettings
    rules: JudgingRules
    placement: Placement
    priority: int
    max_tokens: int | None
    """Of an answer, by the spec or else by policy; None where neither sets a limit."""

    epochs: int
    """By policy, else by the spec."""

    @property
    def pool(self) -> PoolRules:
        """The class of workers that runs it."""
        return self.placement.pool


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
) -> Admitted | Blocked | Refused:
    """Decide what to do with a claim. The first obstacle is the answer."""
    task = _task(claim, benchmark)
    if isinstance(task, Refused | Blocked):
        return task
    rules = policy.rules_for(claim.dataset_id, task.id)
    obstacle = _no_entry(claim, benchmark, model, policy, has_token=has_token) or _other_epochs(task, rules)
    if obstacle is not None:
        return obstacle
    judges = _judges(task, policy)
    if isinstance(judges, Blocked):
        return judges
    placement = _placement(claim.model_id, model, task, rules, policy)
    if isinstance(placement, Refused):
        return placement
    judged = _judged_by(claim, benchmark, task, rules, policy)
    if isinstance(judged, Refused | Blocked):
        return judged
    settings = RunSettings(
        engine=_engine(claim.model_id, model, placement, policy),
        gpus=placement.gpus,
        held_gpus=placement.pool.gpus,
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
    return Admitted(
        key=_key(claim, benchmark, model, task.id, settings),
        task_id=task.id,
        settings=settings,
        rules=judged,
        placement=placement,
        priority=claim.priority,
        max_tokens=_max_tokens(task, rules),
        epochs=rules.epochs or _own_epochs(task),
    )


def foresee(
    claim: ClaimFacts, benchmark: BenchmarkFacts, policy: Policy, fixed: JudgingRules | None = None
) -> Foreseen | None:
    """How a claim will be judged, by what was `fixed`, else once nothing blocks it; None where it never will be."""
    task = _task(claim, benchmark)
    if isinstance(task, Refused | Blocked) or task.definition is None or benchmark.revision is None:
        return None
    rules = policy.rules_for(claim.dataset_id, task.id)
    judged = fixed or _judged_by(claim, benchmark, task, rules, policy)
    if isinstance(judged, Refused | Blocked):
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
        reducer=task.definition.epoch_reducer or MEAN,
        epochs_repeat=epochs_repeat(task.definition, rules.generation),
        history=rules.history,
        card_samples=samples_of(benchmark.sizes, task.definition.config, task.definition.split),
    )


def _task(claim: ClaimFacts, benchmark: BenchmarkFacts) -> TaskSpec | Refused | Blocked:
    spec = _spec(claim, benchmark)
    if isinstance(spec, Refused | Blocked):
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
    if claim.with_tools:
        # No task that this farm runs has any.
        return Refused(
            "the claim's notes say that the model had tools, and the benchmark's eval.yaml is run without: the two"
            " scores are not of one thing. A score without tools is verified as a claim of its own; if this is one,"
            ' write "no tools" in its notes and nothing else of tools'
        )
    return task


def _spec(claim: ClaimFacts, benchmark: BenchmarkFacts) -> Spec | Refused | Blocked:
    spec = benchmark.spec
    if benchmark.revision is None:
        return _unread(claim.dataset_id, benchmark)
    if benchmark.missing is not None:
        return Refused(benchmark.missing)
    if spec is None:
        return Refused(f"{claim.dataset_id} has no eval.yaml at {benchmark.revision}, so nothing says how to run it")
    if not spec.tasks:
        return Refused(f"the eval.yaml of {claim.dataset_id} cannot be run: {'; '.join(spec.reasons)}")
    if all(task.status is SpecStatus.UNSUPPORTED for task in spec.tasks):
        return Refused("; ".join(spec.reasons))
    return spec


def _unread(dataset_id: str, benchmark: BenchmarkFacts) -> Refused | Blocked:
    """Whether a benchmark will never be read, or is not now."""
    if benchmark.watched_as is not None:
        return Refused(
            f"{dataset_id} is {benchmark.watched_as} on the Hub: the claim's author must write the id so, for it to be"
            " a claim on that benchmark"
        )
    if not benchmark.watched:
        return Refused(f"{dataset_id} is not among the benchmarks that this farm watches")
    if benchmark.unlisted:
        return Blocked(
            f"waits for {dataset_id} to be listed again, which was among the benchmarks that this farm watches until a"
            " short while ago; if it stays off the list, claims on it are unsupported"
        )
    if benchmark.gated:
        return Blocked(
            f"the dataset {dataset_id} is gated, and the farm could not read it yet: the farm's operator must accept"
            " its terms on the Hub and set a token"
        )
    return Blocked(
        f"waits for a look at {dataset_id}, which could not be read yet: each scan tries again, and the control"
        " worker's log says what is in the way"
    )


def _no_entry(
    claim: ClaimFacts, benchmark: BenchmarkFacts, model: ModelFacts, policy: Policy, *, has_token: bool
) -> Blocked | Refused | None:
    """Whether policy denies the model, or the Hub one of the repos."""
    if denied := policy.model_rules(claim.model_id).deny:
        return Refused(f"the operator's policy does not run {claim.model_id}: {denied}")
    for kind, repo_id, gated in (
        ("dataset", claim.dataset_id, benchmark.gated),
        ("model", claim.model_id, model.gated),
    ):
        if gated and not has_token:
            return Blocked(
                f"the {kind} {repo_id} is gated: the farm's operator must accept its terms on the Hub and set a token"
            )
    return None


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


def _other_epochs(task: TaskSpec, rules: VerificationRules) -> Blocked | None:
    """Whether by policy's epochs a benchmark has another score, or none: nobody but the operator can change that."""
    reducer, own = task.definition.epoch_reducer if task.definition is not None else None, _own_epochs(task)
    if rules.epochs is None or rules.epochs == own:
        return None
    named, needed = clean(str(reducer), 60), epochs_needed(reducer)
    if not same_by_any_number(reducer):
        return Blocked(
            f"the benchmark counts by {named} of {own} epochs, and the operator's policy has it run {rules.epochs}, of"
            f" which it would be another score than the claimed one: policy must say `epochs: {own}` of it, or leave it"
            " to the eval.yaml"
        )
    if rules.epochs >= needed:
        return None
    return Blocked(
        f"the benchmark counts by {named}, which needs {needed} epochs, and the operator's policy has it run"
        f" {rules.epochs}: policy must allow as many, or leave `epochs` of it to the eval.yaml"
    )


def _placement(
    model_id: str, model: ModelFacts, task: TaskSpec, rules: VerificationRules, policy: Policy
) -> Placement | Refused:
    if model.size is None:
        return Refused(
            "the model repo holds no safetensors weights at its top level, or an adapter (LoRA, adapter_config.json):"
            " this farm loads whole models from safetensors and nothing else; merge an adapter, and leave its files out"
        )
    if model.size.elsewhere:
        return Refused(model.size.elsewhere)
    need, engine = TaskNeed(rules.prompt_tokens, _max_tokens(task, rules)), policy.engine_for(model_id)
    named = policy.model_rules(model_id).pool
    if named is not None:
        pool = next(pool for pool in policy.pools if pool.name == named)
        placed = place_in(model.size, engine, need, pool)
    else:
        placed = place(model.size, engine, need, policy.pools)
    return Refused(placed.reason) if isinstance(placed, NoRoom) else placed


def _max_tokens(task: TaskSpec, rules: VerificationRules) -> int | None:
    """Of the longest answer, earlier turns included: each takes its room and its time."""
    own = rules.generation.max_tokens
    turns = turns_of(task.definition) if task.definition is not None else []
    limits = [limit for turn in turns if (limit := turn.args.get("max_tokens") or own) is not None]
    return max(limits, default=own) if len(limits) == len(turns) else None


def _engine(model_id: str, model: ModelFacts, placement: Placement, policy: Policy) -> EngineRules:
    changed: dict[str, object] = {}
    if placement.max_model_len is not None:
        changed["max_model_len"] = placement.max_model_len
    if model.size is not None and model.size.mistral_format:
        # Said, so that whoever repeats the run on the Hub's repo has what is fetched of it served too.
        changed["model_format"] = "hf"
    return policy.engine_for(model_id).model_copy(update=changed)


def _judged_by(
    claim: ClaimFacts, benchmark: BenchmarkFacts, task: TaskSpec, rules: VerificationRules, policy: Policy
) -> JudgingRules | Refused | Blocked:
    scale: Scale = rules.scale or ("percent" if benchmark.has_percent else "fraction")
    source: Literal["policy", "leaderboard"] = "policy" if rules.scale else "leaderboard"
    claimed = as_proportion(claim.value, scale)
    if claimed is None and source == "leaderboard" and as_proportion(claim.value, "percent") is not None:
        # The leaderboard may know of nobody yet, this claim included, and says another thing as others claim.
        return Blocked(
            f"the claimed {claim.value} looks like a percentage, and the scores on {claim.dataset_id}'s leaderboard"
            " like fractions, or there are none yet: its author can write it as most do there, and the farm's operator"
            " can set the benchmark's `scale` in policy"
        )
    if claimed is None:
        return Refused(f"the claimed {claim.value} is no score: {claim.dataset_id} is scored as a {scale} ({source})")
    spread = _spread_of_claims(claimed, benchmark, task, rules)
    tolerance, tolerance_source = _tolerance(rules, spread)
    return JudgingRules(
        scale=scale,
        scale_source=source,
        claimed=claimed,
        tolerance=tolerance,
        tolerance_source=tolerance_source,
        spread=spread,
        spread_source=benchmark.noise.source if benchmark.noise and spread is not None else None,
        policy_sha256=policy.sha256,
    )


def _spread_of_claims(
    claimed: float, benchmark: BenchmarkFacts, task: TaskSpec, rules: VerificationRules
) -> float | None:
    """What was measured, where claims are like the runs that it was measured on.

    No claim says of how many epochs it is, and whoever ran fewer has the same score with more chance in it: runs of
    more than the score needs differ less from one another than a claim does from any of them.
    """
    reducer = task.definition.epoch_reducer if task.definition is not None else None
    averages = same_by_any_number(reducer) and (rules.epochs or _own_epochs(task)) > epochs_needed(reducer)
    return None if benchmark.noise is None or averages else benchmark.noise.spread(claimed)


def _own_epochs(task: TaskSpec) -> int:
    return task.definition.epochs if task.definition is not None else 1


def _tolerance(
    rules: VerificationRules, spread: float | None
) -> tuple[float | None, Literal["policy", "measured", "chance"]]:
    if isinstance(rules.tolerance, float):
        return rules.tolerance, "policy"
    if rules.tolerance == "measured" and spread is not None:
        return measured_tolerance(spread), "measured"
    return None, "chance"


def _key(
    claim: ClaimFacts, benchmark: BenchmarkFacts, model: ModelFacts, task_id: str | None, settings: RunSettings
) -> str:
    # What is merely held beside it computes nothing.
    return _digest(
        claim.model_id,
        model.weights_sha256,
        claim.dataset_id,
        benchmark.revision,
        task_id,
        settings.model_dump_json(exclude={"held_gpus"}),
    )


@lru_cache(maxsize=256)
def _digest(model: str, weights: str, dataset: str, revision: str | None, task: str | None, settings_json: str) -> str:
    """Of the canonical JSON (RFC 8785) of all that decides a result. Claims on one task of one model share it."""
    facts = {
        "model": model,
        "weights": weights,
        "dataset": dataset,
        "revision": revision,
        "task": task,
        "settings": json.loads(settings_json),
    }
    return hashlib.sha256(rfc8785.dumps(facts)).hexdigest()
