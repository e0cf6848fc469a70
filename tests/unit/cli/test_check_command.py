from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from deploy.cli.check import check

app = typer.Typer()
app.command()(check)
runner = CliRunner()

GOOD = "- dataset: {id: org/bench, task_id: t}\n  value: 0.5\n"
BAD = "- dataset: {id: org/bench, task_id: t}\n  value: high\n"


def written(folder: Path, **files: str) -> list[str]:
    paths = []
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    return paths


def test_good_files_exit_with_0_and_say_so(tmp_path: Path) -> None:
    result = runner.invoke(app, written(tmp_path, good=GOOD))
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("good.yaml: accepted (eval_results)")


def test_one_rejected_file_among_good_ones_exits_with_1_and_its_reason(tmp_path: Path) -> None:
    result = runner.invoke(app, written(tmp_path, good=GOOD, bad=BAD))
    assert result.exit_code == 1
    assert "bad.yaml: rejected" in result.stdout
    assert "value: must be a plain number, not 'high'" in result.stdout


def test_json_is_one_list_of_all_files(tmp_path: Path) -> None:
    result = runner.invoke(app, ["--json", *written(tmp_path, good=GOOD, bad=BAD)])
    assert result.exit_code == 1
    files = json.loads(result.stdout)
    assert [(file["kind"], file["status"]) for file in files] == [
        ("eval_results", "accepted"),
        ("eval_results", "rejected"),
    ]
    assert files[0].keys() == {"path", "kind", "status", "reasons", "warnings", "entries"}
    assert files[0]["entries"] == [{"status": "accepted", "reasons": [], "warnings": []}]


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    result = runner.invoke(app, ["--json", str(tmp_path / "missing.yaml"), *written(tmp_path, good=GOOD)])
    assert result.exit_code == 3
    assert [file["status"] for file in json.loads(result.stdout)] == ["accepted"]
    assert "missing.yaml: there is no such file or folder" in result.stderr


def test_a_folder_without_such_files_is_an_error_and_not_a_success(tmp_path: Path) -> None:
    result = runner.invoke(app, [str(tmp_path)])
    assert result.exit_code == 3
    assert "no file of these formats" in result.stderr


def test_several_entries_are_counted(tmp_path: Path) -> None:
    result = runner.invoke(app, written(tmp_path, mixed=GOOD + GOOD + BAD))
    assert "rejected (eval_results; 2 accepted, 1 rejected)" in result.stdout


def test_hostile_text_reaches_no_terminal(tmp_path: Path) -> None:
    hostile = '- dataset: {id: "\\e[2J[red]x\\u202E", task_id: t}\n  value: 1\n'
    result = runner.invoke(app, written(tmp_path, hostile=hostile))
    assert result.exit_code == 1
    assert "[red]x" in result.stdout
    for acting in ("\x1b", "\u202e"):
        assert acting not in result.stdout
