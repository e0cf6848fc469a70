"""`.eval_results/*.yaml` of a model repo, as the Hub reads them: entries, or one error for the whole file.

The format: https://github.com/huggingface/hub-docs/blob/main/eval_results.yaml
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from deploy.localhub.content import Snapshot
from deploy.localhub.git import GitRepo
from deploy.localhub.json_values import to_json_value
from specs import bounded_yaml
from specs.errors import YamlError

FOLDER = ".eval_results/"
MAX_RESULT_FILES = 1000


@dataclass(frozen=True)
class ResultFile:
    """One file: its entries as JSON values, or why it does not count."""

    filename: str
    entries: tuple[dict[str, Any], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class ResultEntry:
    """One entry that counts, with where it stands. `pull_request` is None for one on main."""

    model: str
    filename: str
    data: dict[str, Any]
    pull_request: int | None

    @property
    def dataset(self) -> str:
        """The benchmark that it is a score on."""
        return str(self.data["dataset"]["id"])

    @property
    def task(self) -> str:
        """The benchmark's task."""
        return str(self.data["dataset"]["task_id"])

    @property
    def value(self) -> float:
        """The score as written: a fraction or a percentage, the file does not say."""
        return float(self.data["value"])


def parse_result_file(filename: str, content: bytes) -> ResultFile:
    """Read one file; a flaw in any entry spoils the file, as it does on huggingface.co."""
    try:
        data = bounded_yaml.load(content)
    except YamlError as error:
        return ResultFile(filename, error=f"not readable as YAML: {error}")
    if not isinstance(data, list) or not data:
        return ResultFile(filename, error="must be a list with at least one entry")
    for index, entry in enumerate(data):
        if flaw := _flaw(entry):
            return ResultFile(filename, error=f"[{index}]{flaw}")
    return ResultFile(filename, entries=tuple(to_json_value(entry) for entry in data))


def _flaw(entry: object) -> str | None:
    if not isinstance(entry, dict):
        return " must be a mapping"
    dataset = entry.get("dataset")
    if not isinstance(dataset, dict):
        return ".dataset must be a mapping"
    for key in ("id", "task_id"):
        if not isinstance(dataset.get(key), str) or not dataset[key]:
            return f".dataset.{key} must be a text"
    value = entry.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ".value must be a number"
    for key, kinds in (("source", dict), ("notes", str), ("verifyToken", str)):
        if entry.get(key) is not None and not isinstance(entry[key], kinds):
            return f".{key} must be a {'mapping' if kinds is dict else 'text'}"
    return None


def result_files(snapshot: Snapshot) -> tuple[ResultFile, ...]:
    """The result files of a model at one commit, by name."""
    wanted = [
        (entry.path, entry.oid if entry.size <= bounded_yaml.MAX_BYTES and entry.large is None else None)
        for entry in snapshot.files
        if entry.path.startswith(FOLDER) and entry.path.endswith(".yaml") and "/" not in entry.path[len(FOLDER) :]
    ]
    return _parsed(snapshot.git.path, tuple(wanted[:MAX_RESULT_FILES]))


@lru_cache(maxsize=4096)
def _parsed(path: Path, wanted: tuple[tuple[str, str | None], ...]) -> tuple[ResultFile, ...]:
    contents = GitRepo(path).blobs([oid for _, oid in wanted if oid])
    return tuple(
        parse_result_file(filename, contents[oid]) if oid else ResultFile(filename, error="too large")
        for filename, oid in wanted
    )
