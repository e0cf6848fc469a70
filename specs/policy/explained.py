"""Which of policy's rules hold for a task and for a model, and where each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs.policy.engine import MODEL_ENGINE_RULES, EngineRules
from specs.policy.generation import GenerationSettings
from specs.policy.rules import Policy, first_set
from specs.policy.verification import TaskRules


@dataclass(frozen=True)
class Rule:
    """A rule as it holds for a task."""

    name: str
    """As in the policy file; those of `generation` as `generation.temperature`, and so those of `engine`."""

    value: object
    """None where no rule sets it: the setting's own description says what that means."""

    source: str
    """In words: the rules of the task, the benchmark, the model or its namespace, or the general ones; or none."""


def rules_explained(policy: Policy, dataset_id: str, task_id: str | None) -> tuple[Rule, ...]:
    """All rules for one task, in the policy file's order."""
    places = policy.task_places(dataset_id, task_id)
    found = [_explained(places, name) for name in TaskRules.model_fields if name != "generation"]
    found.append(_explained([("verification", policy.verification)], "maximum_failed_fraction"))
    generation = [(place, rules.generation) for place, rules in places]
    found += [_explained(generation, name, "generation.") for name in GenerationSettings.model_fields]
    return tuple(found)


def model_rules_explained(policy: Policy, model_id: str) -> tuple[Rule, ...]:
    """How one model is run: whether at all, in which pool, and how its engine is started."""
    places = [(f"models {key}", rules) for key, rules in policy.places_for(model_id)]
    found = [_explained(places, name) for name in ("deny", "pool")]
    for name in EngineRules.model_fields:
        own = places if name in MODEL_ENGINE_RULES else []
        found.append(_explained([*own, ("engine", policy.engine)], name, "engine."))
    return tuple(found)


def _explained(places: Sequence[tuple[str, object]], name: str, within: str = "") -> Rule:
    source, value = first_set(places, name)
    return Rule(within + name, value, source)
