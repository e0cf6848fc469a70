from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from deploy.cli.main import app

N = 3000
FIELDS = [
    "mode",
    "shift",
    "replays",
    "mean_fraction",
    "p95_fraction",
    "verified",
    "mismatch",
    "inconclusive",
    "disagreements",
]


def write(path: Path, **columns: list[object]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def answers(seed: int) -> list[object]:
    rng = np.random.default_rng(0)
    ease = rng.normal(0, 2, N)
    right = np.random.default_rng(seed).random(N) < 1 / (1 + np.exp(-ease))
    return [int(each) for each in right]


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code < 3 else result.output


def test_it_prints_a_line_for_each_mode_and_shift(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=answers(1), two=answers(2))
    history = write(tmp_path / "others.parquet", question=list(range(N)), **{f"m{i}": answers(i) for i in range(5, 10)})
    options = ("--tolerance", 0.04, "--alpha", 0.01, "--shift", 0, "--shift", 0.2, "--shift", -0.2, "--seeds", 2)
    rows = json.loads(run(table, *options, "--history", history, "--paired-noise", 0.03, "--json"))
    assert [(row["mode"], row["shift"]) for row in rows] == [
        (mode, shift) for mode in ("plain", "history", "paired") for shift in (0.0, 0.2, -0.2)
    ]
    assert all(list(row) == FIELDS for row in rows)
    assert all(row["replays"] == 4 and not row["disagreements"] and not row["inconclusive"] for row in rows)
    assert [row["verified"] for row in rows] == [4, 0, 0] * 3
    plain, history_row, paired = (row["mean_fraction"] for row in rows[::3])
    assert plain > history_row > paired
    assert all(0 < row["mean_fraction"] <= row["p95_fraction"] <= 1 for row in rows)


def test_without_history_and_noise_only_plain_verification_is_replayed(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=answers(1))
    output = run(table, "--tolerance", 0.04, "--shift", 0.3, "--seeds", 1)
    assert "plain" in output
    assert "paired" not in output


def test_a_model_does_not_learn_from_its_own_column(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=answers(1))
    rows = json.loads(run(table, "--tolerance", 0.04, "--history", table, "--seeds", 2, "--json"))
    assert rows[0]["mean_fraction"] == rows[1]["mean_fraction"]


def test_a_claim_stays_between_none_and_all(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=[1] * N)
    rows = json.loads(run(table, "--tolerance", 0.04, "--shift", 0.5, "--seeds", 1, "--json"))
    assert rows[0]["verified"] == 1


def test_missing_answers_are_unscored_and_too_many_decide_nothing(tmp_path: Path) -> None:
    few, many = answers(1), answers(1)
    few[::200] = [None] * len(few[::200])
    many[::20] = [None] * len(many[::20])
    table = write(tmp_path / "results.parquet", question=list(range(N)), few=few, many=many)
    rows = json.loads(run(table, "--tolerance", 0.04, "--seeds", 1, "--paired-noise", 0.03, "--json"))
    assert [(row["verified"], row["inconclusive"], row["disagreements"]) for row in rows] == [(1, 1, 0)] * 2


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"question": [1, 2, 2], "one": [0, 1, 1]}, "unique question ids"),
        ({"question": [1, 2, 3], "one": [0, 1, 2]}, "must hold 0, 1 or nothing"),
        ({"question": [1, 2, 3], "one": [None, None, None]}, "must hold 0, 1 or nothing"),
        ({"question": [1, 2, 3], "one": ["a", "b", "c"]}, "does not hold scores"),
        ({"question": [1, 2, 3]}, "a column for each model"),
    ],
)
def test_a_table_of_another_kind_is_refused_with_the_reason(
    tmp_path: Path, columns: dict[str, list[object]], reason: str
) -> None:
    table = write(tmp_path / "results.parquet", **columns)
    assert reason in run(table, "--tolerance", 0.04, code=3)


def test_a_file_that_is_no_table_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    path.write_text("not a table")
    assert "not readable as Parquet" in run(path, "--tolerance", 0.04, code=3)
    assert "not readable as Parquet" in run(tmp_path / "none.parquet", "--tolerance", 0.04, code=3)


def test_real_results_are_judged_as_the_full_run_would(shared_data: Path) -> None:
    results = shared_data / "mmlu_pro" / "per_question_results.parquet"
    options = ("--tolerance", 0.02, "--shift", 0, "--shift", 0.1, "--seeds", 1)
    rows = json.loads(run(results, *options, "--history", results, "--paired-noise", 0.03, "--json"))
    assert all(row["replays"] == 12 and not row["disagreements"] for row in rows)
    true = {row["mode"]: row["mean_fraction"] for row in rows if not row["shift"]}
    assert true["plain"] > true["history"] > true["paired"]
