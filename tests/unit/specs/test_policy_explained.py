from __future__ import annotations

from specs.policy.engine import EngineRules, ModelRules
from specs.policy.explained import Rule, model_rules_explained, rules_explained
from specs.policy.generation import GenerationSettings
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy
from specs.policy.verification import BenchmarkRules, TaskRules, VerificationRules

POLICY = Policy(
    verification=VerificationRules(alpha=0.01, generation=GenerationSettings(temperature=0.0)),
    benchmarks={
        "acme/capitals": BenchmarkRules(
            tolerance=0.03,
            mode="full",
            tasks={"europe": TaskRules(mode="sequential", generation=GenerationSettings(max_tokens=64))},
        )
    },
    engine=EngineRules(dtype="bfloat16", concurrency=64),
    models={
        "tiny/*": ModelRules(pool="big", dtype="float32", deny="no licence"),
        "tiny/model": ModelRules(dtype="float16", deny=False),
    },
    pools=(PoolRules(name="big", memory_gib=80),),
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


def test_what_is_said_of_a_task_without_an_id_is_said_of_no_other() -> None:
    policy = Policy(benchmarks={"acme/capitals": BenchmarkRules(tasks={"": TaskRules(tolerance=0.05)})})
    assert [policy.rules_for("acme/capitals", task).tolerance for task in (None, "europe", "")] == [0.05, None, 0.05]


def test_how_a_model_is_run_says_which_of_the_three_places_it_comes_from() -> None:
    rules = {rule.name: rule for rule in model_rules_explained(POLICY, "tiny/model")}
    assert rules["deny"] == Rule("deny", False, "models tiny/model")
    assert rules["pool"] == Rule("pool", "big", "models tiny/*")
    assert rules["engine.dtype"] == Rule("engine.dtype", "float16", "models tiny/model")
    assert rules["engine.concurrency"] == Rule("engine.concurrency", 64, "engine")
    assert rules["engine.max_model_len"] == Rule("engine.max_model_len", None, "no rule")


def test_what_is_explained_of_a_model_is_what_holds() -> None:
    for model_id in ("tiny/model", "tiny/other", "other/model"):
        rules = {rule.name: rule.value for rule in model_rules_explained(POLICY, model_id)}
        assert (rules["deny"], rules["pool"]) == (POLICY.model_rules(model_id).deny, POLICY.model_rules(model_id).pool)
        engine = POLICY.engine_for(model_id)
        assert all(rules[f"engine.{name}"] == getattr(engine, name) for name in EngineRules.model_fields)
