from __future__ import annotations

import json

import pytest

from specs.hub.eval_yaml import TaskSpec, parse
from specs.hub.reproducibility import warnings_for

FIELDS = {"input": "q", "target": "a", "choices": "c"}
SEEDED = [{"name": "generate", "args": {"temperature": 0, "seed": 1}}]


def task(**changes: object) -> TaskSpec:
    item = {"id": "t", "field_spec": FIELDS, "solvers": SEEDED, "scorers": [{"name": "match"}]} | changes
    return parse(json.dumps({"tasks": [item]}).encode()).tasks[0]


def judged_by(model: str | None) -> TaskSpec:
    return task(scorers=[{"name": "model_graded_qa", "args": {"model": model} if model else {}}])


def test_a_spec_that_says_everything_is_not_warned_of() -> None:
    assert warnings_for(task(), description="Accuracy in percent.", is_gated=False) == []
    seedless = task(epochs=4, solvers=[{"name": "generate", "args": {"temperature": 1, "seed": None}}])
    assert warnings_for(seedless, description="Accuracy in percent.", is_gated=False) == []


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (task(shuffle_choices=True), "shuffle_choices has no seed"),
        (judged_by(None), "judges itself"),
        (judged_by("openai/o3-mini"), "o3-mini can change"),
        (task(solvers=[{"name": "generate", "args": {"max_tokens": 5}}]), "no sampling settings"),
        (task(epochs=4, solvers=[{"name": "generate", "args": {"seed": 1}}]), "one seed for all 4 epochs"),
        (task(scorers=[{"name": "match"}, {"name": "f1"}]), "several scorers (match, f1)"),
    ],
)
def test_what_makes_it_hard_to_reproduce_is_said(spec: TaskSpec, says: str) -> None:
    (warning,) = warnings_for(spec, description="Accuracy in percent.")
    assert says in warning


@pytest.mark.parametrize(
    "judge", ["openai/o3-mini-2025-01-31", "anthropic/claude-3-5-sonnet-20241022", "org/model@abc123"]
)
def test_a_judge_that_names_its_snapshot_is_fine(judge: str) -> None:
    assert warnings_for(judged_by(judge), description="0 to 1") == []


def test_a_gated_dataset_is_said_only_where_it_is_known() -> None:
    said = [warnings_for(task(), description="%", is_gated=is_gated) for is_gated in (True, False, None)]
    assert [len(each) for each in said] == [1, 0, 0]
    assert "gated" in said[0][0]


def test_a_score_of_unknown_unit_is_said() -> None:
    assert "percentage or a fraction" in warnings_for(task(), description="Capitals.")[0]
    assert "percentage or a fraction" in warnings_for(task(), description=None)[0]


def test_what_cannot_be_run_is_not_warned_of() -> None:
    assert warnings_for(task(scorers=[])) == []
    assert warnings_for(task(solvers=[{"name": "use_tools"}, {"name": "generate"}])) == []
