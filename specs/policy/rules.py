"""The operator's rules. One YAML file; unknown keys are errors; nothing in it is a secret."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from specs.bounded_yaml import load
from specs.engines.batch_invariance import LEAST_CAPABILITY
from specs.engines.model_weights import EngineDtype
from specs.epochs import MAX_EPOCHS
from specs.errors import PolicyError, YamlError
from specs.model import Contract
from specs.policy.budget import BudgetRules
from specs.policy.generation import GenerationSettings
from specs.policy.pools import PoolRules
from specs.policy.reverify import ReverifyRules
from specs.validation_errors import faults_in_file, must_be

Scale = Literal["fraction", "percent"]
"""How a benchmark's claims write their scores: 0.412 or 41.2."""


def _is_off(value: object) -> object:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


Off = BeforeValidator(_is_off)

BatchInvariant = Annotated[Literal["off", "where_possible", "required"], Off]
"""`where_possible` uses such kernels on hardware that has them; `required` runs on no other."""

ReasoningParser = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")]

AttentionBackend = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,60}$")]

Proof = Literal["verify_token", "source"]

Mode = Literal["full", "sequential"]
"""`full` runs every sample; `sequential` stops as soon as the answer is sure."""


Tolerance = Annotated[
    Annotated[float, Field(gt=0, lt=1)] | Literal["measured"],
    must_be("a proportion between 0 and 1, such as 0.02 for 2 percentage points, or 'measured'"),
]

ModelOrNamespace = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/(\*|[A-Za-z0-9][\w.-]*))?$")],
    must_be("a model id or NAMESPACE/*"),
]


class WatchRules(Contract):
    """What the farm looks at, and how often."""

    benchmarks: Annotated[Literal["official"] | tuple[str, ...], must_be("'official' or a list of dataset ids")] = (
        "official"
    )
    """`official` is every dataset the Hub lists as a benchmark; else an allow-list of dataset ids."""

    models: tuple[str, ...] = ()
    """Model ids to look at on every scan, whether or not a leaderboard names them."""

    scan_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Between two looks at the leaderboards."""

    sweep_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Between two looks at a known model that no leaderboard announced as changed: finds broken files too."""


class TaskRules(Contract):
    """Rules that a benchmark or one of its tasks may set; None leaves the choice to the wider rule."""

    scale: Scale | None = None
    """How claims on this benchmark write their scores; None decides from its leaderboard."""

    tolerance: Tolerance | None = None
    """Absolute, as a proportion; None is max(0.01, 1.96·√(c(1−c)/N)), where c is 3/N from 0 and 1 at least. `measured`
    is what honest re-runs were seen to differ by (the noise ledger), and the same as None until enough were seen."""

    mode: Mode | None = None
    """Run every sample, or stop as soon as the answer is sure."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """The chance, for each claim, that a verdict from some of the samples differs from the verdict of all of them."""

    minimum_samples: Annotated[int, Field(ge=2)] | None = None
    """Fewer scored samples than this, and fewer than there are, decide nothing."""

    history: bool | None = None
    """Let earlier reproductions on the same task predict answers: saves samples, changes no verdict."""

    linked_logs: bool | None = None
    """Read the Inspect log on the Hub that a claim names as its source, and let it predict answers."""

    sample_limit: Annotated[int, Field(gt=0)] | None = None
    """Run so many samples at most, drawn at random; None runs all."""

    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] | None = None
    """Instead of the spec's own, where that leaves the score what it is: the mean, or `pass_at_K` of K epochs or more.
    Claims on other benchmarks are blocked. How many were run stands in the evidence, and with how it ran."""

    prompt_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens to make room for in a prompt where memory is short: `scheduler.admission.placement`."""

    generation: GenerationSettings = GenerationSettings()


class BenchmarkRules(TaskRules):
    """Rules for a benchmark; `tasks` for some of its tasks."""

    tasks: dict[str, TaskRules] = Field(default_factory=dict)


class VerificationRules(TaskRules):
    """Rules for every benchmark that does not say otherwise."""

    mode: Mode = "sequential"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    minimum_samples: Annotated[int, Field(ge=2)] = 20
    history: bool = True
    linked_logs: bool = True
    prompt_tokens: Annotated[int, Field(gt=0)] = 8192
    maximum_failed_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """More answers than this without a score (errors, not wrong answers) make the verdict inconclusive, and nothing is
    decided that the samples with such answers could change, where those are more than this of all."""


class EngineRules(Contract):
    """How the engine is started. Recorded in every badge."""

    dtype: EngineDtype = "auto"
    max_model_len: Annotated[int, Field(gt=0)] | None = None
    """Tokens of context; None is the model's own, or what the task needs where that has no room, or what there is room
    for where the task may need all of it."""

    enforce_eager: bool = False
    """Skip graph capture: up sooner, slower after."""

    batch_invariant: BatchInvariant = "off"
    """Kernels whose sums do not depend on what else is in a batch: slower, and greedy answers repeat."""

    reasoning_parser: ReasoningParser | None = None
    """What parts a model's thoughts from its answer, by vLLM's name for it (`--reasoning-parser`). None leaves them to
    Inspect, which knows `<think>` where the model itself writes it."""

    # Left out where it is not set: workers and keys of runs of earlier versions know of none.
    attention_backend: Annotated[AttentionBackend | None, Field(exclude_if=lambda value: value is None)] = None
    """What computes attention, by vLLM's name for it (`--attention-backend`). None leaves it to vLLM, which may choose
    FlashInfer where there is no CUDA toolkit to compile it with."""

    model_format: Annotated[Literal["hf"] | None, Field(exclude_if=lambda value: value is None)] = None
    """Whose config and tokenizer of a model are read, by vLLM's name (`--config-format`, `--tokenizer-mode`). None
    leaves it to vLLM, save where Mistral's own files stand beside those of Transformers, which alone are fetched."""

    check_template: Annotated[bool, Field(exclude_if=lambda value: value)] = True
    """End a run as the model's failure where its chat template depends on what is asked, as one with answers does."""

    concurrency: Annotated[int, Field(ge=1)] = 32
    """Requests in flight at once."""

    start_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """An engine that is not up by then has failed."""

    kv_cache_gib: Annotated[int, Field(ge=1)] = 2
    """On the CPU build only: memory for the KV cache."""

    sleep: bool = False
    """On GPUs only: an engine that gives way to another keeps its weights in the host's memory, as far as that goes,
    and is awake again within seconds."""


Denial = Annotated[
    Annotated[str, Field(min_length=1, max_length=500)] | Literal[False],
    must_be("the reason, in 1 to 500 characters, or false"),
]


class ModelRules(Contract):
    """What holds for a model, or for all models of a namespace; None leaves the choice to the wider rule."""

    pool: str | None = None
    """The pool that it runs in, whatever its size is reckoned to be; None is the smallest that it fits into."""

    dtype: EngineDtype | None = None
    max_model_len: Annotated[int, Field(gt=0)] | None = None
    enforce_eager: bool | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    batch_invariant: BatchInvariant | None = None
    reasoning_parser: ReasoningParser | None = None
    attention_backend: AttentionBackend | None = None
    check_template: bool | None = None
    deny: Denial | None = None
    """Why this farm does not run it, for whoever claims a score of it; `false` lets it run although its namespace is
    denied."""


MODEL_ENGINE_RULES = tuple(name for name in ModelRules.model_fields if name in EngineRules.model_fields)
"""Of `ModelRules`, those that stand for the engine's own."""


class JudgeEndpoint(Contract):
    """An OpenAI-compatible endpoint that plays the judge that a spec names."""

    base_url: Annotated[str, Field(pattern=r"^https?://")]
    model: str
    """The model's name at that endpoint: a dated one, or scores drift when it is replaced."""

    api_key_env: Annotated[str, Field(pattern=r"^REPROFARM_JUDGE_[A-Z0-9_]+$")] | None = None
    """The worker's environment variable that holds the key. The prefix keeps policy from naming other secrets."""


class JudgeRules(Contract):
    """Who judges where a spec wants a model as judge."""

    allow_self: bool = True
    """A spec that names no judge has the evaluated model judge itself, as Inspect does."""

    endpoints: dict[str, JudgeEndpoint] = Field(default_factory=dict)
    """By the name in the spec, `openai/o3-mini` say. A claim whose judge is not here is blocked."""


class RunRules(Contract):
    """Patience and persistence."""

    heartbeat_seconds: Annotated[float, Field(gt=0)] = 5.0
    lease_seconds: Annotated[float, Field(gt=0)] = 30.0
    """An attempt that did not renew for so long is taken from its worker."""

    stall_seconds: Annotated[float, Field(gt=0)] = 900.0
    """A run in which no sample finished for so long is ended, unless the engine generates for it."""

    deadline_seconds: Annotated[float, Field(gt=0)] = 86_400.0
    """One attempt takes no longer."""

    queue_seconds: Annotated[float, Field(gt=0)] = 604_800.0
    """A reproduction that no worker took for so long ends as failed, with that reason."""

    attempts: Annotated[int, Field(ge=1)] = 3
    """Tries before our own failures make a reproduction failed."""

    worker_deaths: Annotated[int, Field(ge=1)] = 2
    """Workers that may die over a reproduction before it is given up: ended as failed, and not tried again."""

    batch: Annotated[int, Field(ge=1)] = 16
    """Reproductions of one model that travel together at most. How long they take bounds it too."""

    side_by_side: Annotated[int, Field(ge=1, le=64)] = 2
    """Reproductions of a batch that run at once on its engine, which the end of a single run leaves half idle. They
    share `engine.concurrency`."""

    fetch_ahead: bool = True
    """Workers fetch what they are likely to need next while they run something else."""

    hold_back_seconds: Annotated[float, Field(ge=0)] = 300.0
    """A reproduction that has waited for longer goes before others of its priority whose engine is loaded already."""

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> RunRules:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError("lease_seconds must be at least three heartbeats, or one lost message loses the lease")
        return self


class PublishRules(Contract):
    """What the farm writes on the Hub."""

    mode: Annotated[Literal["off", "comment", "pull_request"], Off] = "off"
    proof: tuple[Proof, ...] = ("verify_token",)
    """Where a pull request puts the proof: the `verifyToken` field, the entry's `source`, or both."""

    verdicts: tuple[Literal["verified", "mismatch"], ...] = ("verified",)
    """Which verdicts are written. That a published badge is revoked by a mismatch is always written, and so is that
    a published mismatch was reproduced later."""


class Policy(Contract):
    """All of the operator's rules."""

    version: Literal[1] = 1
    watch: WatchRules = WatchRules()
    verification: VerificationRules = VerificationRules()
    benchmarks: dict[str, BenchmarkRules] = Field(default_factory=dict)
    engine: EngineRules = EngineRules()
    models: dict[ModelOrNamespace, ModelRules] = Field(default_factory=dict)
    """By model id, or `NAMESPACE/*`."""

    judges: JudgeRules = JudgeRules()
    pools: Annotated[tuple[PoolRules, ...], Field(min_length=1)] = (PoolRules(name="cpu", device="cpu", memory_gib=80),)
    run: RunRules = RunRules()
    budget: BudgetRules = BudgetRules()
    publish: PublishRules = PublishRules()
    reverify: ReverifyRules = ReverifyRules()

    @model_validator(mode="after")
    def _pools_have_names_of_their_own(self) -> Policy:
        if len({pool.name for pool in self.pools}) != len(self.pools):
            raise ValueError("two pools have the same name")
        return self

    @model_validator(mode="after")
    def _models_run_in_pools_that_there_are(self) -> Policy:
        known = {pool.name for pool in self.pools}
        for name, rules in self.models.items():
            if rules.pool is not None and rules.pool not in known:
                raise ValueError(f"models.{name}: there is no pool {rules.pool}")
        return self

    @model_validator(mode="after")
    def _models_have_the_kernels_that_they_require(self) -> Policy:
        lacking = {pool.name for pool in self.pools if pool.lacks_invariant_kernels}
        for name in self.models:
            pool = self.model_rules(name).pool
            if pool in lacking and self.engine_for(name).batch_invariant == "required":
                raise ValueError(
                    f"models.{name}: `batch_invariant: required` takes GPUs of compute capability"
                    f" {LEAST_CAPABILITY:.1f} or higher, which its pool {pool} has not; give it another pool, or"
                    " `batch_invariant` where_possible or off"
                )
        return self

    def model_rules(self, model_id: str) -> ModelRules:
        """What is said of one model: its own rules over its namespace's."""
        places = self.places_for(model_id)
        return ModelRules(**{name: first_set(places, name)[1] for name in ModelRules.model_fields})

    def places_for(self, model_id: str) -> list[tuple[str, ModelRules]]:
        """Where something is said of a model, from narrow to wide: the key, and the rules there."""
        keys = (model_id, f"{model_id.partition('/')[0]}/*")
        return [(key, self.models[key]) for key in keys if key in self.models]

    def engine_for(self, model_id: str) -> EngineRules:
        """How the engine is started for one model."""
        rules = self.model_rules(model_id)
        own = {name: value for name in MODEL_ENGINE_RULES if (value := getattr(rules, name)) is not None}
        return self.engine.model_copy(update=own)

    def rules_for(self, dataset_id: str, task_id: str | None) -> VerificationRules:
        """What holds for one task: the task's rules over its benchmark's over the general ones."""
        places = self.task_places(dataset_id, task_id)
        # What is said of nothing in particular is the same for all, whatever claims may name.
        said_of = tuple(place for place, _ in places)
        if said_of not in self._rules_found:
            self._rules_found[said_of] = self._put_together(places)
        return self._rules_found[said_of]

    def task_places(self, dataset_id: str, task_id: str | None) -> list[tuple[str, TaskRules]]:
        """Where something is said of a task, from narrow to wide: whose rules, in words, and the rules there."""
        benchmark = self.benchmarks.get(dataset_id)
        task = benchmark.tasks.get(task_id or "") if benchmark is not None else None
        places = [(f"task {task_id}", task), (f"benchmark {dataset_id}", benchmark)]
        return [*((place, rules) for place, rules in places if rules is not None), ("verification", self.verification)]

    @cached_property
    def _rules_found(self) -> dict[tuple[str, ...], VerificationRules]:
        """By their places: putting them together takes longer than most of what planning does for a claim."""
        return {}

    def _put_together(self, places: Sequence[tuple[str, TaskRules]]) -> VerificationRules:
        generation = [(place, rules.generation) for place, rules in places]
        return VerificationRules(
            **{name: first_set(places, name)[1] for name in TaskRules.model_fields if name != "generation"},
            maximum_failed_fraction=self.verification.maximum_failed_fraction,
            generation=GenerationSettings(
                **{name: first_set(generation, name)[1] for name in GenerationSettings.model_fields}
            ),
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, of which nothing is known that was worked out for this one."""
        copied = super().model_copy(update=update, deep=deep)
        for known in ("sha256", "_rules_found"):
            copied.__dict__.pop(known, None)
        return copied

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the policy in canonical JSON (RFC 8785)."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()


def read_policy(path: Path | None) -> Policy:
    """The policy in a file; the defaults where `path` is None.

    Raises:
        PolicyError: the file is not a policy; the operator must act.
    """
    if path is None:
        return Policy()
    try:
        # Lax, because YAML knows no tuples; unknown keys stay errors.
        policy = Policy.model_validate(load(path.read_bytes()) or {}, strict=False)
        # Every badge names it, and canonical JSON has neither infinity nor whole numbers from 2**53 on.
        _ = policy.sha256
    except ValidationError as error:
        raise PolicyError(f"{path}: {faults_in_file(error)}. The farm's operator must change it") from error
    except OSError as error:
        raise PolicyError(f"{path} cannot be read: {error.strerror}") from error
    except (YamlError, rfc8785.CanonicalizationError) as error:
        raise PolicyError(f"{path}: {error}") from error
    return policy


def first_set(places: Sequence[tuple[str, object]], name: str) -> tuple[str, Any]:
    """Which of some places, from narrow to wide, is the first to set a rule, and what to; else `no rule` and None."""
    for place, rules in places:
        value = getattr(rules, name)
        if value is not None:
            return place, value
    return "no rule", None
