from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from inspect_ai._eval.task.hf import HFTask
from inspect_ai.dataset import Sample

from specs.messages import TaskRef
from tests.support.small_repos import COMMIT
from workers.benchmarks.choices import check_choices
from workers.benchmarks.dataset_rows import LocalDataset
from workers.errors import SpecError

GOOD = Sample(input="?", choices=["x", "y"], target="B")


def _task(solver: str, scorer: str, **more: Any) -> HFTask:
    return HFTask.model_validate(
        {
            "field_spec": {"input": "q", "target": "a", "choices": "o"},
            "solvers": [{"name": solver}],
            "scorers": [{"name": scorer, "args": {"pattern": "letter"} if scorer == "answer" else {}}],
            **more,
        }
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("Paris", "has the target 'Paris', which must be the letter of a choice: .*beyond the task's 2 choices: P, r"),
        ("C", "beyond the task's 2 choices: C"),
        ("?", "must be a letter or number"),
        ("ß", "has the target 'ß', which must be the letter of a choice"),
        ("A", None),
        ("a,b", None),
    ],
)
def test_targets_that_name_no_choice_are_refused_where_none_does(target: str, words: str | None) -> None:
    samples = [Sample(input="?", choices=["x", "y"], target=target)] * 2
    with pytest.raises(SpecError, match=words) if words else nullcontext():
        check_choices(_task("multiple_choice", "choice"), samples)
    check_choices(_task("multiple_choice", "choice"), [*samples, GOOD])


@pytest.mark.parametrize("target", ["C", "Paris", "?", "ß"])
def test_choices_are_not_shuffled_where_a_target_is_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    from workers.benchmarks.canonical import canonical_task  # noqa: PLC0415 - lighteval and torch, which few tests need

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"q": "?", "a": each, "o": ["x", "y"]} for each in ("A", target)]
    folder = tmp_path / COMMIT
    folder.mkdir()
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ref = TaskRef(dataset_id="bench/say", revision=COMMIT, task_id="say", spec_sha256="a" * 64)
    task = _task("multiple_choice", "choice", shuffle_choices=True)
    with pytest.raises(SpecError, match="choices cannot be shuffled: a target is not one of them"):
        canonical_task(ref, task, LocalDataset(folder, 100, 100), judges={}, seed=1, epochs_repeat=False)


@pytest.mark.parametrize("choices", [None, []])
def test_questions_without_choices_are_refused_where_they_are_to_be_chosen_from(choices: Any) -> None:
    samples = [Sample(input="?", choices=choices, target="B")] * 3
    for scorer in ("choice", "answer"):
        with pytest.raises(SpecError, match=r"not one of the 3 questions .* the first has no choices"):
            check_choices(_task("multiple_choice", scorer), samples)
    check_choices(_task("generate", "answer"), samples)
