"""Which of the Hub's files this is, by its name, its folder and, where those don't say, its content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

Kind = Literal["eval_yaml", "eval_results", "leaderboard", "model_eval_results"]

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

_FOLDERS: Mapping[str, Kind] = {
    ".eval_results": "eval_results",
    "eval_results": "eval_results",
    "eval_yaml": "eval_yaml",
}
_EVAL_YAML_KEY = re.compile(rb"^(?:tasks|evaluation_framework)[ \t]*:", re.MULTILINE)
_RESULT_KEY = re.compile(rb"^(?:-[ \t]+|[ \t]+-?[ \t]*)dataset[ \t]*:", re.MULTILINE)


def kind_of(path: str, data: bytes) -> Kind | None:
    """The kind of the file at `path` with that content; None where nothing speaks for any."""
    pure = PurePath(path)
    suffix = pure.suffix.lower()
    if suffix == ".json":
        return _json_kind(pure, data)
    if suffix not in SUFFIXES:
        return None
    if pure.stem == "eval":
        return "eval_yaml"
    if pure.parent.name in _FOLDERS:
        return _FOLDERS[pure.parent.name]
    if _EVAL_YAML_KEY.search(data):
        return "eval_yaml"
    return "eval_results" if _RESULT_KEY.search(data) else None


def likely_kind(path: str, data: bytes) -> Kind:
    """What to take a file for of which nothing says what it is."""
    if PurePath(path).suffix.lower() == ".json" or data.lstrip().startswith((b"[", b"{")):
        return "leaderboard"
    return "eval_yaml" if re.search(rb"^\w+[ \t]*:", data, re.MULTILINE) else "eval_results"


def _json_kind(path: PurePath, data: bytes) -> Kind | None:
    if re.search(r"eval_?results", path.name, re.IGNORECASE):
        return "model_eval_results"
    if "leaderboard" in path.name.lower():
        return "leaderboard"
    if b'"evalResults"' in data or re.search(rb'"dataset"\s*:\s*\{', data):
        return "model_eval_results"
    if b'"modelId"' in data or path.parent.name == "leaderboard":
        return "leaderboard"
    return None
