from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.errors import SubmissionError
from specs.hub.check import MAX_JSON_BYTES, CheckedFile, check_bytes, check_path, find_files

RESULT = b"- dataset: {id: org/bench, task_id: t}\n  value: 0.5\n"
SPEC = b"evaluation_framework: mteb\ntasks: [{id: t}]\n"
ROWS = b'[{"modelId": "org/model", "value": 1, "filename": ".eval_results/x.yaml"}]'
ENTRIES = b'[{"filename": ".eval_results/x.yaml", "data": {"dataset": {"id": "a/b", "task_id": "t"}, "value": 1}}]'


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("eval.yaml", RESULT, "eval_yaml"),
        ("repo/.eval_results/x.yaml", SPEC, "eval_results"),
        ("eval_yaml/x.yaml", b"", "eval_yaml"),
        ("x.yaml", RESULT, "eval_results"),
        ("x.yaml", b"-\n  dataset:\n    id: a\n", "eval_results"),
        ("x.yml", b"# comment\n" + SPEC, "eval_yaml"),
        ("x.yaml", b"evaluation_results:\n  - dataset: {}\n", "eval_results"),
        ("x.yaml", b"name: only\n", "eval_yaml"),
        ("x.yaml", b"# nothing\n", "eval_results"),
        ("x.json", ROWS, "leaderboard"),
        ("x.json", ENTRIES, "model_eval_results"),
        ("x.json", b'{"id": "org/model", "evalResults": []}', "model_eval_results"),
        ("model_evalResults.json", b"{}", "model_eval_results"),
        ("leaderboard/x.json", b'{"error": "not found"}', "leaderboard"),
        ("x.json", b"not json", "leaderboard"),
    ],
)
def test_the_kind_is_told_by_name_then_folder_then_content(name: str, data: bytes, kind: str) -> None:
    assert check_bytes(name, data).kind == kind


def test_the_json_form_is_the_one_that_scripts_rely_on() -> None:
    data = b"- dataset: {id: bench, task_id: t}\n  value: 0.5\n- 3\n"
    assert check_bytes("x.yaml", data).model_dump(mode="json") == {
        "path": "x.yaml",
        "kind": "eval_results",
        "status": "rejected",
        "reasons": ["entry 2: the entry: must be a mapping with dataset and value, not 3"],
        "warnings": [
            "entry 1: dataset.id: 'bench' has no namespace; write owner/bench, or the Hub may find another dataset"
        ],
        "entries": [
            {
                "status": "accepted_with_warning",
                "reasons": [],
                "warnings": [
                    "dataset.id: 'bench' has no namespace; write owner/bench, or the Hub may find another dataset"
                ],
            },
            {
                "status": "rejected",
                "reasons": ["the entry: must be a mapping with dataset and value, not 3"],
                "warnings": [],
            },
        ],
    }


@pytest.mark.parametrize(
    ("name", "data", "is_sound"),
    [
        ("eval.yaml", SPEC, True),
        ("eval.yaml", b"tasks: []", False),
        ("x.yaml", RESULT, True),
        ("x.yaml", b"- 3", False),
        ("x.json", ROWS, True),
        ("x.json", b"{}", False),
    ],
)
def test_only_what_is_invalid_or_rejected_is_unsound(name: str, data: bytes, is_sound: bool) -> None:
    assert check_bytes(name, data).is_sound is is_sound


def test_results_of_a_model_are_found_inside_its_info() -> None:
    info = b'{"id": "org/model", "evalResults": ' + ENTRIES + b"}"
    assert [entry.status.value for entry in check_bytes("info.json", info).entries] == ["accepted"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b"[1" + b"1" * 5000 + b"]", "not JSON"),
        (b" " * (MAX_JSON_BYTES + 1), "more than 8,388,608 bytes"),
    ],
)
def test_json_that_cannot_be_read_is_rejected_with_a_reason(data: bytes, says: str) -> None:
    checked = check_bytes("leaderboard.json", data)
    assert checked.status == "rejected"
    assert says in checked.reasons[0]


def test_a_folder_is_searched_for_the_hubs_files_and_no_others(tmp_path: Path) -> None:
    for name, data in {
        "eval.yaml": SPEC,
        ".eval_results/a.yaml": RESULT,
        ".eval_results/README.md": b"# words",
        "config.json": b'{"architectures": ["X"]}',
        ".github/workflow.yaml": b"on: push\n",
        ".git/eval.yaml": SPEC,
        "deep/er/leaderboard.json": ROWS,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    found = [Path(file.path).relative_to(tmp_path).as_posix() for file in check_path(tmp_path)]
    assert found == [".eval_results/a.yaml", "deep/er/leaderboard.json", "eval.yaml"]


def test_a_file_that_is_named_is_checked_whatever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_bytes(b"on: push\n")
    (checked,) = check_path(path)
    assert checked.status == "invalid"


def test_what_is_not_there_or_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="no such file"):
        check_path(tmp_path / "nothing.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SubmissionError, match="not a regular file"):
        check_path(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "eval.yaml"))
        with pytest.raises(SubmissionError, match="not a regular file"):
            check_path(tmp_path / "eval.yaml")


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "eval.yaml").write_bytes(SPEC)
    assert find_files(tmp_path) == [tmp_path / "a" / "eval.yaml"]


def test_a_known_benchmarks_gate_and_missing_tasks_are_told_without_the_hub() -> None:
    task = {
        "id": "hle",
        "field_spec": {"input": "q", "target": "a"},
        "solvers": [{"name": "generate"}],
        "scorers": [{"name": "match"}],
    }
    hle = check_bytes("eval.yaml", json.dumps({"name": "Humanity's Last Exam", "tasks": [task]}).encode())
    assert "gated" in "\n".join(hle.warnings)
    other = check_bytes("eval.yaml", json.dumps({"name": "Humanity's First Exam", "tasks": [task]}).encode())
    assert "gated" not in "\n".join(other.warnings)
    claim = check_bytes("x.yaml", b"- dataset: {id: cais/hle, task_id: default}\n  value: 5.2\n")
    assert "'default' is not a task of cais/hle" in claim.warnings[0]


NAMES = st.sampled_from(["eval.yaml", "x.yaml", ".eval_results/x.yml", "x.json", "leaderboard.json", "\udcff.yaml", ""])


@given(NAMES, st.binary(max_size=100) | st.sampled_from([SPEC, RESULT, ROWS, ENTRIES]))
def test_any_name_and_bytes_can_be_checked_and_shown(name: str, data: bytes) -> None:
    checked = check_bytes(name, data)
    assert CheckedFile.model_validate_json(checked.model_dump_json()) == checked
