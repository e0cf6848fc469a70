"""The operator's rules. One YAML file; unknown keys are errors; nothing in it is a secret."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import Field, ValidationError, model_validator

from specs.bounded_yaml import load
from specs.contract import Contract
from specs.engines.batch_invariance import LEAST_CAPABILITY
from specs.errors import PolicyError, YamlError
from specs.policy.budget import BudgetRules
from specs.policy.engine import MODEL_ENGINE_RULES, EngineRules, ModelOrNamespace, ModelRules
from specs.policy.generation import GenerationSettings
from specs.policy.judges import JudgeRules
from specs.policy.pools import PoolRules
from specs.policy.publish import PublishRules
from specs.policy.reverify import ReverifyRules
from specs.policy.run import RunRules
from specs.policy.verification import BenchmarkRules, TaskRules, VerificationRules
from specs.policy.watch import WatchRules
from specs.validation_errors import faults_in_file


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
