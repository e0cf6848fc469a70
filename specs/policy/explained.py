"""Which of policy's rules hold for a task and for a model, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass

from specs.policy.rules import MODEL_ENGINE_RULES, Policy, TaskRules


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
    benchmark = policy.benchmarks.get(dataset_id)
    task = benchmark.tasks.get(task_id or "") if benchmark is not None else None
    narrow_to_wide: list[tuple[str, TaskRules | None]] = [
        (f"task {task_id}", task),
        (f"benchmark {dataset_id}", benchmark),
        ("verification", policy.verification),
    ]
    places = [(source, rules) for source, rules in narrow_to_wide if rules is not None]
    found = [
        _first_set(name, [(source, getattr(rules, name)) for source, rules in places])
        for name in TaskRules.model_fields
        if name != "generation"
    ]
    failed = "maximum_failed_fraction"
    found.append(Rule(failed, policy.verification.maximum_failed_fraction, "verification"))
    for name in type(policy.verification.generation).model_fields:
        values = [(source, getattr(rules.generation, name)) for source, rules in places]
        found.append(_first_set(f"generation.{name}", values))
    return tuple(found)


def model_rules_explained(policy: Policy, model_id: str) -> tuple[Rule, ...]:
    """How one model is run: whether at all, in which pool, and how its engine is started."""
    places = [(f"models {key}", rules) for key, rules in policy.places_for(model_id)]
    found = [
        _first_set(name, [(source, getattr(rules, name)) for source, rules in places]) for name in ("deny", "pool")
    ]
    for name in type(policy.engine).model_fields:
        own = [(source, getattr(rules, name)) for source, rules in places] if name in MODEL_ENGINE_RULES else []
        found.append(_first_set(f"engine.{name}", [*own, ("engine", getattr(policy.engine, name))]))
    return tuple(found)


def _first_set(name: str, values: list[tuple[str, object]]) -> Rule:
    source, value = next(((source, value) for source, value in values if value is not None), ("no rule", None))
    return Rule(name, value, source)
