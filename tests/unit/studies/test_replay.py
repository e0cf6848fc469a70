"""Verification is replayed on known results as the farm would have judged them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from deploy.studies.replay import Replayed, Settings, read_results, replay
from specs.errors import SubmissionError

N = 3000


def write(path: Path, **columns: list[object]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def answers(seed: int) -> list[object]:
    rng = np.random.default_rng(0)
    ease = rng.normal(0, 2, N)
    right = np.random.default_rng(seed).random(N) < 1 / (1 + np.exp(-ease))
    return [int(each) for each in right]


def replayed(results: Path, **settings: Any) -> list[Replayed]:
    history = settings.pop("history", None)
    table = read_results(history) if history else None
    given = {"tolerance": 0.04, "alpha": 0.001, "shifts": (0.0,), **settings}
    return list(replay(read_results(results), Settings(**given, history=table)))


def test_there_is_a_line_for_each_mode_and_shift(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=answers(1), two=answers(2))
    history = write(tmp_path / "others.parquet", question=list(range(N)), **{f"m{i}": answers(i) for i in range(5, 10)})
    rows = replayed(table, alpha=0.01, shifts=(0.0, 0.2, -0.2), seeds=2, history=history, paired_noise=0.03)
    assert [(row.mode, row.shift) for row in rows] == [
        (mode, shift) for mode in ("plain", "history", "paired") for shift in (0.0, 0.2, -0.2)
    ]
    assert all(row.replays == 4 and not row.disagreements and not row.inconclusive for row in rows)
    assert [row.verified for row in rows] == [4, 0, 0] * 3
    plain, history_row, paired = (row.mean_fraction for row in rows[::3])
    assert plain > history_row > paired
    assert all(0 < row.mean_fraction <= row.p95_fraction <= 1 for row in rows)


def test_without_history_and_noise_only_plain_verification_is_replayed(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=answers(1))
    assert [row.mode for row in replayed(table, shifts=(0.3,), seeds=1)] == ["plain"]


def test_a_model_does_not_learn_from_its_own_column(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=answers(1))
    rows = replayed(table, history=table, seeds=2)
    assert rows[0].mean_fraction == rows[1].mean_fraction


def test_a_claim_stays_between_none_and_all(tmp_path: Path) -> None:
    table = write(tmp_path / "results.parquet", question=list(range(N)), one=[1] * N)
    rows = replayed(table, shifts=(0.5,), seeds=1)
    assert rows[0].verified == 1


def test_missing_answers_are_unscored_and_too_many_decide_nothing(tmp_path: Path) -> None:
    few, many = answers(1), answers(1)
    few[::200] = [None] * len(few[::200])
    many[::20] = [None] * len(many[::20])
    table = write(tmp_path / "results.parquet", question=list(range(N)), few=few, many=many)
    rows = replayed(table, seeds=1, paired_noise=0.03)
    assert [(row.verified, row.inconclusive, row.disagreements) for row in rows] == [(1, 1, 0)] * 2


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
    with pytest.raises(SubmissionError, match=reason):
        read_results(table)


def test_a_file_that_is_no_table_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    path.write_text("not a table")
    for file in (path, tmp_path / "none.parquet"):
        with pytest.raises(SubmissionError, match="not readable as Parquet"):
            read_results(file)


def test_real_results_are_judged_as_the_full_run_would(shared_data: Path) -> None:
    table = read_results(shared_data / "mmlu_pro" / "per_question_results.parquet")
    assert len(table.models) == 12
    # Each third of them is judged, by what all others answered.
    judged = replace(table, models=dict(list(table.models.items())[::3]))
    settings = Settings(tolerance=0.02, alpha=0.001, shifts=(0.0, 0.1), seeds=1, history=table, paired_noise=0.03)
    rows = list(replay(judged, settings))
    assert all(row.replays == 4 and not row.disagreements for row in rows)
    true = {row.mode: row.mean_fraction for row in rows if not row.shift}
    assert true["plain"] > true["history"] > true["paired"]
