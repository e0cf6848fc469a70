"""Every published file that we know of comes out as `hub_cases.json` says, through the whole check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from inspect_ai._eval.loader import scorer_from_spec, solver_from_spec
from inspect_ai.scorer._scorer import ScorerSpec
from inspect_ai.solver import SolverSpec

from specs.hub.check import CheckedEntry, CheckedFile, check_path
from specs.hub.eval_yaml import parse

ACCEPTED = frozenset({"accepted", "accepted_with_warning"})
WARNED = frozenset({"accepted_with_warning"})
REJECTED = frozenset({"rejected"})
INVALID = frozenset({"invalid"})

# What the prose of `expected` begins with, longest first, and the statuses that are true to it.
WORDINGS: Mapping[str, frozenset[str]] = {
    "runnable, needs judge": frozenset({"needs_judge"}),
    "runnable": frozenset({"runnable"}),
    "valid, unsupported framework": frozenset({"unsupported"}),
    # These two can be read and can never give a score, so nobody can run them.
    "valid for Inspect; cannot score": INVALID,
    "passes the schema; Inspect refuses at run time": INVALID,
    "invalid": INVALID,
    "unknown": INVALID,
    "legacy": INVALID,
    "accept with warning": WARNED,
    # Coerced, and said so.
    "accept with coercion or reject clearly": WARNED,
    "accept": ACCEPTED,
    "reject": REJECTED,
}


# What must stand in reasons and warnings together.
SAID: Mapping[str, tuple[str, ...]] = {
    "eval_yaml/gpqa.yaml": ("shuffle_choices has no seed", "gated"),
    "eval_yaml/mmlu_pro.yaml": ("no sampling settings", "unit"),
    "eval_yaml/hle.yaml": ("openai/o3-mini", "can change", "gated"),
    "eval_yaml/gsm8k.yaml": ("judges itself",),
    "eval_yaml/openevals_simpleqa.yaml": ("judges itself",),
    "eval_yaml/openevals_musr.yaml": ("'choices' must hold a real list",),
    "eval_yaml/euroeval__dual_use_classification.yaml": ("choice cannot score", "multiple_choice"),
    "eval_yaml/euroeval__per_task_languages.yaml": ("extra key tasks[0].languages",),
    "eval_yaml/euroeval__two_tasks_partial.yaml": (
        "tasks[0].solvers is missing",
        "tasks[1].scorers is missing",
        "tasks[0].field_spec has no target",
    ),
    "eval_yaml/gsm8k__unknown_scorer_exact_match.yaml": ("unknown scorer: exact_match", "did you mean exact?"),
    "eval_yaml/asvspoof5__unknown_solver_and_metrics.yaml": (
        "unknown solver: speech_spoof_bench_solver",
        "unknown scorer: speech_spoof_scorer",
        "extra key tasks[0].metrics",
    ),
    "eval_yaml/signalbench__inspect_ai_ids_only.yaml": ("valid as a registration", "field_spec"),
    "eval_yaml/mlx_smoke__inspect_ai_no_field_spec.yaml": ("valid as a registration", "field_spec"),
    "eval_yaml/math_arena_aime_2026__minimal.yaml": ("math-arena",),
    "eval_yaml/math_arena_aime_2026__extended.yaml": ("math-arena",),
    "eval_yaml/nanofold.yaml": ("nanofold",),
    "eval_yaml/mteb_arguana.yaml": ("mteb",),
    "eval_yaml/legacy_draft__metrics_block.yaml": ("metrics at the top level", "ignored", "field_spec"),
    "eval_yaml/lighteval_nov2025__bare_string_solvers.yaml": (
        "solvers[0] is the text 'prompt_template'",
        "write `- name: generate`",
        "the key is epoch_reducer",
    ),
    "eval_yaml/docs_prose__scores_instead_of_scorers.yaml": (
        "tasks[0].scorers is missing",
        "extra key tasks[0].scores",
        "the key is scorers",
    ),
    "eval_yaml/inspect_rule__epoch_reducer_majority.yaml": ("epoch_reducer", "'majority'"),
    "eval_yaml/inspect_rule__epoch_reducer_pass_at_exceeds_epochs.yaml": ("needs 5 epochs", "epochs is 2"),
    "eval_yaml/inspect_rule__two_tasks_one_without_id.yaml": ("tasks[1]: id is required",),
    "eval_yaml/inspect_rule__empty_solvers.yaml": ("tasks[0].solvers is empty; at least one is needed",),
    "eval_results/dual_loop__ai2_arc_no_namespace.yaml": ("'ai2_arc' has no namespace",),
    "eval_results/dual_loop__matrix_helper_task_not_in_dataset.yaml": (
        "'cognitive_matrix_helper_dilemma' is not a task of lukaemon/bbh",
    ),
    "eval_results/hubdocs__full_percent_20_90.yaml": ("verifyToken", "placeholder", "'<hash>'"),
    "eval_results/hfhub__docstring_full_verifytoken_org.yaml": ("verifyToken", "incomplete"),
    "eval_results/hubdocs__minimal_fraction_0_412.yaml": ("'gpqa_diamond'", "diamond, main, extended"),
    "eval_results/community_evals__top_level_dict.yaml": ("top level is a mapping", "evaluation_results"),
    "eval_results/legacy_draft__metrics_list_no_value.yaml": ("value is missing", "metrics[].value"),
    "eval_results/edge__yaml11_scalars.yaml": ("'2026'", "'5503434'", "notes"),
    "eval_results/edge__yml_extension_fraction.yml": (".yml",),
    "eval_results/bad__value_quoted_number.yaml": ("value", "'48.3'", "remove the quotes"),
    "eval_results/bad__value_bool.yaml": ("value", "True"),
    "eval_results/bad__value_nan.yaml": ("value", "finite", "nan"),
    "eval_results/bad__dataset_is_a_string.yaml": ("dataset: must be a mapping",),
    "eval_results/bad__list_item_is_a_string.yaml": ("entry 1", "must be a mapping"),
    "eval_results/bad__source_without_url.yaml": ("source.url is missing",),
    "eval_results/bad__unquoted_colon_in_notes.yaml": ("line 5, column 19", "in quotes"),
    "eval_results/bad__comment_only.yaml": ("no entries",),
    "leaderboard/error_404.json": ("an object, not a list", "not found"),
    "leaderboard/gpqa__no_filename.json": ("filename is missing",),
    "leaderboard/model_evalResults__no_task_id_source_without_url.json": (
        "source.url is missing",
        "task_id is missing",
        "no namespace",
    ),
}

FOLDERS = ("eval_yaml", "eval_results", "leaderboard")


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((shared_data / "hub_cases.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def checked(shared_data: Path) -> dict[str, CheckedFile]:
    files = [file for folder in FOLDERS for file in check_path(shared_data / folder)]
    return {Path(file.path).relative_to(shared_data).as_posix(): file for file in files}


def statuses_for(expected: str) -> frozenset[str]:
    for wording, statuses in WORDINGS.items():
        if expected.startswith(wording):
            return statuses
    raise AssertionError(f"hub_cases.json expects {expected!r}, which this test does not know how to read")


def test_every_case_comes_out_as_stated(cases: dict[str, dict[str, str]], checked: dict[str, CheckedFile]) -> None:
    wrong = {
        name: (case["expected"], checked[name].status.value, checked[name].reasons)
        for name, case in cases.items()
        if checked[name].status.value not in statuses_for(case["expected"])
    }
    assert not wrong
    assert len(cases) > 60


def test_every_file_is_a_case(cases: dict[str, dict[str, str]], checked: dict[str, CheckedFile]) -> None:
    assert checked.keys() == cases.keys()


def test_every_kind_is_recognised(checked: dict[str, CheckedFile]) -> None:
    for name, file in checked.items():
        folder, filename = name.split("/")
        assert file.kind == ("model_eval_results" if filename.startswith("model_") else folder), name


def test_reasons_and_warnings_say_what_the_case_is_about(checked: dict[str, CheckedFile]) -> None:
    unsaid = {
        name: [word for word in words if word not in "\n".join(checked[name].reasons + checked[name].warnings)]
        for name, words in SAID.items()
    }
    assert not {name: words for name, words in unsaid.items() if words}


def test_whatever_is_not_simply_good_says_why(checked: dict[str, CheckedFile]) -> None:
    for file in checked.values():
        judged: tuple[CheckedFile | CheckedEntry, ...] = (file, *file.entries)
        for each in judged:
            if each.status in ("needs_judge", "unsupported", "invalid", "rejected"):
                assert each.reasons, file.path
            if each.status in ("accepted", "runnable"):
                assert not each.reasons, file.path
            assert (each.status == "accepted_with_warning") <= bool(each.warnings), file.path


def test_a_bad_item_leaves_its_neighbour_alone(checked: dict[str, CheckedFile]) -> None:
    file = checked["eval_results/bad__list_item_is_a_string.yaml"]
    assert [entry.status.value for entry in file.entries] == ["rejected", "accepted"]
    assert file.status == "rejected"


def test_the_same_task_with_and_without_tools_are_two_entries(checked: dict[str, CheckedFile]) -> None:
    entries = checked["eval_results/edge__same_task_twice_tools_and_no_tools.yaml"].entries
    assert [entry.status.value for entry in entries] == ["accepted", "accepted"]


@pytest.mark.parametrize("name", ["gpqa.yaml", "mmlu_pro.yaml", "hle.yaml", "gsm8k.yaml"])
def test_what_can_be_run_is_warned_of_what_makes_it_hard_to_reproduce(
    checked: dict[str, CheckedFile], name: str
) -> None:
    warnings = "\n".join(checked[f"eval_yaml/{name}"].warnings)
    assert "no sampling settings" in warnings
    assert "percentage or a fraction" in warnings


def test_inspect_builds_the_solvers_and_scorers_of_whatever_is_called_runnable(shared_data: Path) -> None:
    built = 0
    for path in sorted((shared_data / "eval_yaml").iterdir()):
        for task in parse(path.read_bytes()).tasks:
            if task.definition is None:
                continue
            for solver in task.definition.solvers:
                solver_from_spec(SolverSpec(solver=solver.name, args=solver.args, args_passed=solver.args))
            for scorer in task.definition.scorers:
                scorer_from_spec(ScorerSpec(scorer=scorer.name), task_path=None, **scorer.args)
            built += 1
    assert built > 20
