from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai._eval.task import hf
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from pydantic import ValidationError

from specs.epochs import MAX_EPOCHS
from specs.hub.eval_yaml import Spec, SpecStatus, parse
from specs.hub.inspect_args import _parameters
from specs.hub.inspect_tasks import _KNOWN_NAMES

PLAIN = """
    name: Capitals
    description: Capitals of countries; scores in percent.
    evaluation_framework: inspect-ai
    tasks:
      - id: capitals
        field_spec: {input: question, target: answer}
        solvers: [{name: generate, args: {temperature: 0.0, max_tokens: 16}}]
        scorers: [{name: match}]
"""


def spec(text: str) -> Spec:
    return parse(textwrap.dedent(text).encode())


def with_task(**changes: object) -> Spec:
    """The plain spec with keys of its task replaced; None takes one away."""
    data = yaml.safe_load(textwrap.dedent(PLAIN))
    data["tasks"][0] |= changes
    data["tasks"][0] = {key: value for key, value in data["tasks"][0].items() if value is not None}
    return parse(json.dumps(data).encode())


def choice_task(args: Mapping[str, object] | None = None, **changes: object) -> Spec:
    return with_task(
        field_spec={"input": "q", "target": "a", "choices": "c"},
        solvers=[{"name": "multiple_choice", "args": dict(args or {})}],
        scorers=[{"name": "choice"}],
        **changes,
    )


def test_a_plain_spec_is_runnable() -> None:
    found = spec(PLAIN)
    assert (found.status, found.reasons, found.warnings) == (SpecStatus.RUNNABLE, (), ())
    assert found.name == "Capitals"
    task = found.task("capitals")
    assert task is not None
    assert task is found.task(None)
    assert task.definition is not None
    assert task.definition.field_spec.target == "answer"
    assert task.definition.solvers[0].args == {"temperature": 0.0, "max_tokens": 16}
    assert found.task("capital") is None


@pytest.mark.parametrize(
    "args",
    [
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"top_k": -2},
        {"presence_penalty": 3.0},
        {"frequency_penalty": -2.5},
        {"max_tokens": 0},
        {"seed": 2**53},
        {"seed": -(10**30)},
    ],
    ids=str,
)
def test_sampling_settings_that_the_engine_refuses_are_not_run(args: dict[str, float]) -> None:
    found = with_task(solvers=[{"name": "generate", "args": args}])
    assert found.status is SpecStatus.UNSUPPORTED
    (name,) = args
    assert found.reasons[0].startswith(f"tasks[0].solvers[0].args.{name}: must be ")
    assert found.reasons[0].endswith(": the engine would refuse every question")


@pytest.mark.parametrize("word", [".nan", ".inf"])
def test_a_temperature_that_is_no_number_is_none(word: str) -> None:
    assert spec(PLAIN.replace("temperature: 0.0", f"temperature: {word}")).status is SpecStatus.UNSUPPORTED


@pytest.mark.parametrize(
    "args",
    [{"temperature": 0}, {"temperature": None}, {"top_p": 1}, {"top_k": -1}, {"max_tokens": 1}, {"seed": -1}],
    ids=str,
)
def test_sampling_settings_at_their_bounds_are_run(args: dict[str, float]) -> None:
    assert with_task(solvers=[{"name": "generate", "args": args}]).status is SpecStatus.RUNNABLE


def test_no_multiple_choice_has_answers_of_no_tokens() -> None:
    assert choice_task({"max_tokens": 0}).status is SpecStatus.UNSUPPORTED
    assert choice_task({"max_tokens": 1}).status is SpecStatus.RUNNABLE


@pytest.mark.parametrize(("pattern", "sound"), [("GRADE: [CI]", False), ("GRADE: ([CI])", True), ("(?:C|I)", False)])
def test_a_grade_pattern_needs_a_group_to_take_the_grade_from(pattern: str, *, sound: bool) -> None:
    # Inspect asks the match for its first group, which fails on every answer.
    found = with_task(scorers=[{"name": "model_graded_qa", "args": {"grade_pattern": pattern}}])
    assert (found.status is SpecStatus.NEEDS_JUDGE) == sound
    assert sound or "args.grade_pattern: has no group" in found.reasons[0]


def test_the_hash_is_of_the_exact_bytes() -> None:
    text = PLAIN.encode()
    assert parse(text).sha256 == hashlib.sha256(text).hexdigest()
    assert parse(b"\xff").sha256 == hashlib.sha256(b"\xff").hexdigest()


def test_a_task_id_is_free_text() -> None:
    for task_id in ("MathArena/aime_2026", "swe_bench_%_resolved", "musr:team_allocation", "MTEB(eng, v2)"):
        found = with_task(id=task_id)
        assert found.status is SpecStatus.RUNNABLE
        assert found.task(task_id) is not None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": 2026}, "tasks[0].id: YAML reads 2026"),
        ({"id": "a\u202eb"}, "tasks[0].id: must be 1 to 200"),
        ({"epochs": 0}, "tasks[0].epochs is 0"),
        ({"epoch_reducer": "at_least_3", "epochs": 2}, "needs 3 epochs"),
        ({"epoch_reducer": "pass_at_0"}, "counts no epoch"),
        ({"field_spec": "question"}, "tasks[0].field_spec is 'question'"),
        ({"field_spec": {"input": "q", "target": "a", "targets": "b"}}, "extra key tasks[0].field_spec.targets"),
        ({"solvers": [{"name": "prompt_template", "args": {"template": "{prompt}"}}]}, "add `- name: generate`"),
        ({"solvers": [{"name": "prompt_template"}, {"name": "generate"}]}, "args.template is missing"),
        ({"solvers": [{"name": "generate", "args": {"temprature": 1}}]}, "generate has no such argument"),
        ({"solvers": [{"name": "generate", "args": {"temperature": "hot"}}]}, "args.temperature"),
        ({"solvers": [{"name": "multiple_choice"}]}, "multiple_choice needs field_spec.choices"),
        ({"solvers": [{"name": "chain_of_thoughts"}]}, "did you mean chain_of_thought?"),
        ({"scorers": [{"name": "match", "args": {"location": "middle"}}]}, "args.location"),
        ({"scorers": [{"name": "match", "args": {"task_path": "/"}}]}, "match has no such argument"),
        ({"scorers": [{"name": "exact", "args": {"ignore_case": True}}]}, "it has none"),
        ({"scorers": [{"name": "pattern"}]}, "args.pattern is missing"),
        ({"scorers": [{"name": "pattern", "args": {"pattern": "("}}]}, "not a regular expression"),
        ({"scorers": [{"name": "f1", "args": {"answer_fn": "os.system"}}]}, "args.answer_fn"),
        ({"scorers": [{"name": "model_graded_qa", "args": {"model": {"x": 1}}}]}, "args.model"),
        ({"scorers": [{"name": "model_graded_qa", "args": {"model": []}}]}, "args.model is empty"),
        ({"scorers": [{"name": "model_graded_qa", "args": {"include_history": "x"}}]}, "args.include_history"),
        ({"scorers": [{"name": "model_graded_qa", "args": {"template": "{question} {oops}"}}]}, "cannot fill in"),
    ],
)
def test_what_inspect_could_not_run_is_invalid(changes: dict[str, object], says: str) -> None:
    found = with_task(**changes)
    assert found.status is SpecStatus.INVALID
    assert says in "\n".join(found.reasons)
    assert found.tasks[0].definition is None
    assert found.tasks[0].reasons


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{question} {choices} {question.__class__}", "reaches into a value"),
        ("{question} {choices[0]}", "reaches into a value"),
        ("{question} {choices} {", "lone {"),
        ("{question}", "has no {choices}"),
        ("{question} {choices} {answer}", "cannot fill in"),
        ("/etc/passwd", "path or an address"),
    ],
)
def test_a_choice_template_is_filled_by_str_format_and_so_held_to_it(template: str, says: str) -> None:
    found = choice_task({"template": template})
    assert found.status is SpecStatus.INVALID
    assert says in "\n".join(found.reasons)


def test_a_choice_template_of_its_own_is_fine() -> None:
    assert choice_task({"template": "{question}\n{choices}\nOne of {letters}."}).status is SpecStatus.RUNNABLE


@pytest.mark.parametrize(
    ("step", "template", "doubled"),
    [
        ("prompt_template", "Solve this: {{prompt}}", "prompt"),
        ("prompt_template", "Solve this: {prompt} {{prompt}} \\boxed{{ANSWER}}", None),
        ("system_message", "Put {{prompt}} in braces.", None),
        ("multiple_choice", "{{question}} {choices}", "question"),
        ("model_graded_qa", "{question} {{answer}}", "answer"),
    ],
)
def test_a_question_in_doubled_braces_would_not_be_asked(step: str, template: str, doubled: str | None) -> None:
    named = {"name": step, "args": {"template": template}}
    changes = {"scorers": [named]} if step == "model_graded_qa" else {"solvers": [named, {"name": "generate"}]}
    found = with_task(field_spec={"input": "q", "target": "a", "choices": "c"}, **changes)
    said = [f"has {{{{{doubled}}}}}, of which Inspect makes the text {{{doubled}}}"] if doubled is not None else []
    assert [words for words in said if words not in "\n".join(found.reasons)] == []
    assert (found.status is SpecStatus.INVALID) == (doubled is not None)


def test_metadata_columns_may_not_stand_in_a_choice_template() -> None:
    found = with_task(
        field_spec={"input": "q", "target": "a", "choices": "c", "metadata": ["answer"]},
        solvers=[{"name": "multiple_choice", "args": {"template": "{question} {choices} {answer}"}}],
    )
    assert "cannot fill in" in "\n".join(found.reasons)


def test_metadata_columns_may_stand_in_a_judges_template() -> None:
    field_spec = {"input": "q", "target": "a", "metadata": ["rubric"]}
    judge = {"name": "model_graded_qa", "args": {"template": "{question} {rubric}", "model": "openai/o3-mini"}}
    assert with_task(field_spec=field_spec, scorers=[judge]).status is SpecStatus.NEEDS_JUDGE


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"solvers": [{"name": "use_tools", "args": {"tools": ["bash"]}}, {"name": "generate"}]}, "use_tools"),
        ({"solvers": [{"name": "generate", "args": {"cache": True}}]}, "only sampling settings"),
        ({"solvers": [{"name": "generate", "args": {"extra_headers": {"x": "y"}}}]}, "only sampling settings"),
        (
            {
                "field_spec": {"input": "q", "target": "a", "choices": "c"},
                "solvers": [{"name": "multiple_choice", "args": {"shuffle": True}}],
            },
            "cannot be seeded",
        ),
    ],
)
def test_what_inspect_runs_and_this_farm_does_not_is_unsupported(changes: dict[str, object], says: str) -> None:
    found = with_task(**changes)
    assert found.status is SpecStatus.UNSUPPORTED
    assert says in "\n".join(found.reasons)


@pytest.mark.parametrize(
    ("args", "judges"),
    [
        ({}, (None,)),
        ({"model": "openai/o3-mini"}, ("openai/o3-mini",)),
        ({"model": ["a/b", "c/d"], "reducer": "mode"}, ("a/b", "c/d")),
    ],
)
def test_judges_are_listed_as_the_file_names_them(args: dict[str, object], judges: tuple[str | None, ...]) -> None:
    found = with_task(scorers=[{"name": "model_graded_fact", "args": args}])
    assert found.status is SpecStatus.NEEDS_JUDGE
    assert found.tasks[0].judges == judges
    assert found.tasks[0].definition is not None


@pytest.mark.parametrize("model", ["Ada", "", []])
def test_what_a_template_calls_model_is_no_judge(model: object) -> None:
    said = {"name": "system_message", "args": {"template": "You are {model}.", "model": model}}
    found = with_task(solvers=[said, {"name": "generate"}])
    assert (found.status, found.tasks[0].judges) == (SpecStatus.RUNNABLE, ())


def test_a_critic_of_another_name_is_a_judge_too() -> None:
    found = with_task(solvers=[{"name": "generate"}, {"name": "self_critique", "args": {"model": "openai/o3"}}])
    assert (found.status, found.tasks[0].judges) == (SpecStatus.NEEDS_JUDGE, ("openai/o3",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a list", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: &x 1", "line 1, column 4"),
        ("name: x", "tasks must be a list"),
        ("tasks: []", "at least one task"),
        ("tasks: [x]", "tasks[0]: must be a mapping"),
        ("title: x\ntask_path: y", "another tool's eval.yaml"),
        ("evaluation_framework: 3\ntasks: [{id: x}]", "must be a name"),
        ("tasks: [{id: x}]\nfield_spec: {input: q}\nsolvers: []\nscorers: []", "inside each item of tasks"),
        ("evaluation_framework: mteb\ntasks: [{id: 7}]", "tasks[0].id"),
        ("evaluation_framework: mteb\ntasks: [{id: x}, {id: x}]", "the id of 2 tasks"),
        ("evaluation_framework: mteb\ntasks: [{id: x}, {config: y}]", "tasks[1]: id is required"),
    ],
)
def test_a_file_that_is_no_spec_is_invalid_and_says_why(text: str, says: str) -> None:
    found = spec(text)
    assert found.status is SpecStatus.INVALID
    assert says in "\n".join(found.reasons)


@pytest.mark.parametrize(
    ("framework", "says"),
    [
        ("harbor", "harbor runs outside this farm"),
        ("my-harness", "my-harness is not one that the Hub knows"),
        ("inspect_ai", "did you mean inspect-ai?"),
    ],
)
def test_another_framework_is_unsupported_by_name_and_keeps_its_task_ids(framework: str, says: str) -> None:
    found = spec(f"evaluation_framework: {framework}\ntasks: [{{id: a}}, {{id: b/c}}]")
    assert found.status is SpecStatus.UNSUPPORTED
    assert says in "\n".join(found.reasons)
    assert [task.id for task in found.tasks] == ["a", "b/c"]
    assert all(task.definition is None and task.reasons for task in found.tasks)


def test_a_file_is_as_good_as_its_worst_task() -> None:
    data = yaml.safe_load(textwrap.dedent(PLAIN))
    data["tasks"].append(data["tasks"][0] | {"id": "judged", "scorers": [{"name": "model_graded_qa"}]})
    assert parse(json.dumps(data).encode()).status is SpecStatus.NEEDS_JUDGE
    data["tasks"].append(data["tasks"][0] | {"id": "broken", "scorers": []})
    found = parse(json.dumps(data).encode())
    assert [task.status.value for task in found.tasks] == ["runnable", "needs_judge", "invalid"]
    assert found.status is SpecStatus.INVALID


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ({"scorers": []}, "tasks[1].scorers"),
        ({"scorers": [{"name": "bleu"}]}, "tasks[1].scorers[0]: unknown scorer"),
        ({"id": None}, "tasks[1]: id is required"),
        ({"id": 7}, "tasks[1].id"),
        (
            {"field_spec": None, "solvers": None, "scorers": None},
            "tasks[1]: field_spec, solvers and scorers are missing",
        ),
        ("not a task", "tasks[1]: must be a mapping"),
        ({"solvers": [{"name": "multiple_choice"}]}, None),
        ({"scorers": [{"name": "match", "args": {"unknown": 1}}]}, None),
        ({"epoch_reducer": "at_least_2"}, None),
        ({}, None),
    ],
)
def test_a_file_that_inspects_loader_refuses_for_a_task_beside_a_sound_one_is_known(
    beside: dict[str, object] | str, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = yaml.safe_load(textwrap.dedent(PLAIN))
    sound = data["tasks"][0]
    changed = {**sound, "id": "other", **beside} if isinstance(beside, dict) else {}
    data["tasks"].append({key: value for key, value in changed.items() if value is not None} or beside)
    found = parse(json.dumps(data).encode())
    assert found.tasks[0].status is SpecStatus.RUNNABLE
    if says is None:
        assert found.refused_by_inspect is None
    else:
        assert found.refused_by_inspect is not None
        assert found.refused_by_inspect.startswith(says)
    # By its own account.
    (tmp_path / "eval.yaml").write_text(json.dumps(data))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **_: tmp_path / "eval.yaml")
    monkeypatch.setattr(hf, "hf_dataset", lambda **_: MemoryDataset([Sample(input="q", target="a")]))
    with pytest.raises((ValidationError, PrerequisiteError)) if says is not None else nullcontext():
        assert len(hf.task_create_from_hf("hf/acme/bench/capitals@main")) == 1


def test_what_is_only_odd_is_a_warning() -> None:
    found = with_task(
        id=None,
        shuffle_choices=True,
        field_spec={"input": "q", "sandbox": "docker"},
        solvers=[{"name": "prompt_template", "args": {"template": "Answer \\boxed{}."}}, {"name": "generate"}],
    )
    assert found.status is SpecStatus.RUNNABLE
    text = "\n".join(found.tasks[0].warnings)
    for said in ("id is missing", "nothing to shuffle", "sandbox", "no target", "no {prompt}", "double the braces"):
        assert said in text


def test_names_are_cleaned_before_anybody_sees_them() -> None:
    found = spec('name: "\\e[31mred\\u202E"\ntasks: [{id: x}]\nevaluation_framework: "evil\\e[2J"')
    assert found.name == "red"
    assert any("the framework evil " in reason for reason in found.reasons)
    assert "\x1b" not in "".join(found.reasons)


def test_every_solver_and_scorer_that_inspect_allows_is_known_with_its_arguments() -> None:
    for kind, names in _KNOWN_NAMES.items():
        for name in names:
            known, takes_any = _parameters(kind.removesuffix("s"), name)
            assert known or takes_any or name in {"exact", "choice"}


def test_reading_results_and_foreign_specs_does_not_import_inspect(tmp_path: Path) -> None:
    program = (
        "import sys, specs.hub.check, specs.hub.eval_results, specs.hub.leaderboard, specs.messages;"
        "import specs.hub.eval_yaml as e;"
        "e.parse(b'evaluation_framework: mteb\\ntasks: [{id: x}]');"
        "sys.exit('inspect_ai' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


KEYS = st.sampled_from(["id", "field_spec", "solvers", "scorers", "epochs", "epoch_reducer", "choices", "name", "args"])
WORDS = st.sampled_from(
    ["generate", "match", "choice", "multiple_choice", "model_graded_qa", "{", "{x.y}", "pass_at_2"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
STEPS = st.lists(st.fixed_dictionaries({"name": WORDS}, optional={"args": VALUES}), max_size=2)
TASKS = st.fixed_dictionaries(
    {},
    optional={
        "id": VALUES,
        "field_spec": st.just({"input": "q", "target": "a"}) | VALUES,
        "solvers": STEPS | VALUES,
        "scorers": STEPS | VALUES,
        "epochs": VALUES,
        "epoch_reducer": WORDS,
    },
)


@given(st.lists(TASKS | VALUES, max_size=3), VALUES)
def test_no_structure_raises(tasks: list[object], other: object) -> None:
    data = {"name": other, "evaluation_framework": "inspect-ai", "tasks": tasks, "metrics": other}
    found = parse(yaml.safe_dump(data).encode())
    assert found.status in SpecStatus
    assert (found.status is SpecStatus.RUNNABLE) == (not found.reasons)


@pytest.mark.parametrize("digits", [20, 5000])
def test_a_reducer_over_more_epochs_than_can_be_counted_is_invalid(digits: int) -> None:
    found = with_task(epoch_reducer="pass_at_" + "9" * digits, epochs=3)
    assert found.status is SpecStatus.INVALID
    assert len("; ".join(found.reasons)) < 300


def test_more_epochs_than_any_benchmark_has_are_unsupported() -> None:
    assert with_task(epochs=MAX_EPOCHS).status is SpecStatus.RUNNABLE
    assert with_task(epochs=10**12).status is SpecStatus.UNSUPPORTED


def test_a_regular_expression_that_takes_long_to_compile_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = "(?i)" + "[\u0100-\U0010ffff]" * 2000
    monkeypatch.setattr("specs.hub.inspect_args.re.compile", lambda _: pytest.fail("it was compiled"))
    found = with_task(scorers=[{"name": "pattern", "args": {"pattern": pattern}}])
    assert found.status is SpecStatus.INVALID
    assert "2000 are read at most" in "; ".join(found.reasons)
