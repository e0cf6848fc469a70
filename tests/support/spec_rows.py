"""Rows for any spec: made ones with the columns that it names, in the configs and splits that it names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import yaml
from inspect_ai._eval.task.hf import HFTask

_WORDS = (
    "ANSWER: A",
    "ANSWER: B || ANSWER: A",
    "the answer 2, ANSWER: B GRADE: C",
    "so it is \\boxed{answer 3} || so it is $\\boxed{3}$ || no || GRADE: I",
    "answer 4",
    "ANSWER: A, B GRADE: P || GRADE: C",
    "«né» ANSWER: Ä",
    " || no || ANSWER: B || ANSWER: B",
    "yes",
    "No",
)
"""What a stand-in engine is told to answer, as the question comes again in turn: right, wrong, of no form and
nothing at all."""

_PIXEL = base64.b64encode(b"GIF89a\x01\x00\x01\x00\x80\x00\x00").decode()


def made_rows(task: HFTask, count: int) -> list[dict[str, Any]]:
    """Rows that the task can read; some are awkward on purpose."""
    return [_row(task, number) for number in range(count)]


def _row(task: HFTask, number: int) -> dict[str, Any]:
    spec = task.field_spec
    row: dict[str, Any] = {
        spec.input: f"Question {number} of {task.id}: {{braces}} ñ «é» 12:30? Say: {_WORDS[number % len(_WORDS)]}"
    }
    options = [f"option {number}-{each}" for each in range(4)]
    if isinstance(spec.choices, list):
        row |= dict(zip(spec.choices, options, strict=True))
    elif spec.choices is not None:
        # Not every question has equally many.
        row[spec.choices] = options[: 2 + number % 3]
    if not spec.target.startswith("literal:"):
        position = number % 2
        letter = "AB"[position]
        by_choice = position if "index" in spec.target else letter
        row[spec.target] = by_choice if spec.choices is not None else f"answer {number}"
    if spec.input_image:
        row[spec.input_image] = f"data:image/gif;base64,{_PIXEL}" if number % 2 else ""
    for name in spec.metadata if isinstance(spec.metadata, list) else []:
        row.setdefault(name, f"{name} of {number}")
    return row


def data_files(tasks: Iterable[HFTask], count: int) -> dict[str, bytes]:
    """The files of a dataset repo with made rows for each of these tasks, and the card that says which is which."""
    files: dict[str, bytes] = {}
    configs: dict[str, list[dict[str, str]]] = {}
    for task in tasks:
        path = f"{task.config}/{task.split}.jsonl".replace(":", "_")
        files[path] = "".join(json.dumps(row) + "\n" for row in made_rows(task, count)).encode()
        configs.setdefault(task.config, []).append({"split": task.split, "path": path})
    card = {"configs": [{"config_name": name, "data_files": splits} for name, splits in configs.items()]}
    files["README.md"] = f"---\n{yaml.safe_dump(card)}---\n".encode()
    return files
