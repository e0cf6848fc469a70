from __future__ import annotations

from specs.generation import GenerationSettings
from specs.policy import BenchmarkRules, Policy, TaskRules, VerificationRules
from specs.policy_explained import Rule, rules_explained

POLICY = Policy(
    verification=VerificationRules(alpha=0.01, generation=GenerationSettings(temperature=0.0)),
    benchmarks={
        "acme/capitals": BenchmarkRules(
            tolerance=0.03,
            mode="full",
            tasks={"europe": TaskRules(mode="sequential", generation=GenerationSettings(max_tokens=64))},
        )
    },
)


def found(dataset: str, task: str | None) -> dict[str, Rule]:
    return {rule.name: rule for rule in rules_explained(POLICY, dataset, task)}


def test_each_rule_says_which_of_the_three_places_it_comes_from() -> None:
    rules = found("acme/capitals", "europe")
    assert rules["mode"] == Rule("mode", "sequential", "task europe")
    assert rules["tolerance"] == Rule("tolerance", 0.03, "benchmark acme/capitals")
    assert rules["alpha"] == Rule("alpha", 0.01, "verification")
    assert rules["generation.max_tokens"] == Rule("generation.max_tokens", 64, "task europe")
    assert rules["generation.temperature"] == Rule("generation.temperature", 0.0, "verification")
    assert rules["scale"] == Rule("scale", None, "no rule")


def test_what_is_explained_is_what_holds() -> None:
    for dataset, task in (("acme/capitals", "europe"), ("acme/capitals", "asia"), ("other/bench", None)):
        holds = POLICY.rules_for(dataset, task)
        rules = found(dataset, task)
        for name in type(holds).model_fields:
            if name != "generation":
                assert rules[name].value == getattr(holds, name)
        for name in GenerationSettings.model_fields:
            assert rules[f"generation.{name}"].value == getattr(holds.generation, name)
