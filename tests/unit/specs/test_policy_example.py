"""The annotated sample of the operator's policy says what is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from specs.policy.engine import ModelRules
from specs.policy.judges import JudgeEndpoint
from specs.policy.pools import PoolRules
from specs.policy.rules import Policy, read_policy
from specs.policy.verification import BenchmarkRules, TaskRules

SAMPLE = Path(__file__).parents[3] / "deploy" / "policy.example.yaml"


def keys_of(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield str(key)
            yield from keys_of(value)
    elif isinstance(data, list):
        for value in data:
            yield from keys_of(value)


def fields_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation)


def test_what_is_not_marked_as_an_example_is_the_default() -> None:
    sample, default = read_policy(SAMPLE), Policy()
    examples = {"benchmarks": {}, "models": {}, "judges": default.judges, "reverify": default.reverify}
    assert sample.model_copy(update=examples) == default
    assert sample.reverify.model_copy(update={"minimum_versions": {}}) == default.reverify
    assert sample.judges.model_copy(update={"endpoints": {}}) == default.judges
    assert SAMPLE.read_text().count("# EXAMPLE") == 4


def test_every_setting_is_in_it() -> None:
    wanted = {
        name
        for model in (Policy, BenchmarkRules, TaskRules, ModelRules, JudgeEndpoint, PoolRules)
        for name in fields_of(model)
    }
    assert wanted - set(keys_of(yaml.safe_load(SAMPLE.read_text()))) == set()
