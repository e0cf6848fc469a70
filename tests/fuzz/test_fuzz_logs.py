"""Logs of strangers, and of workers that somebody took over: a ZIP of Inspect's within limits, or a reason."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from specs.errors import EvidenceError
from specs.logs.linked_log_file import MAX_REASON_CHARS, read_linked_log
from specs.logs.run_log import RunLog
from specs.logs.run_scores import mean_of, run_scores, scorer_names, standard_error_of
from specs.text import is_clean
from tests.support.fuzzing import JSON, fuzz, mutated_bytes, mutated_json
from tests.support.inspect_logs import inspect_log

TARGETS = ["t1", "t2", "t3", "t4"]
MEAN_PERCENT = 75.0


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four samples, three of them right."""
    return inspect_log(tmp_path_factory.mktemp("logs"), TARGETS, [["t1"], ["t2"], ["t3"], ["no"]])


def _inputs(log: Path) -> st.SearchStrategy[bytes | tuple[str, Any]]:
    """Bytes of a file, or one file of the ZIP with other content."""
    with zipfile.ZipFile(log) as archive:
        read = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    samples = [(name, content) for name, content in read.items() if name.startswith("samples/")]
    changed = [mutated_json(content).map(_named(name)) for name, content in [("header.json", read["header.json"])]]
    changed += [mutated_json(content).map(_named(name)) for name, content in samples[:2]]
    anything = st.tuples(st.sampled_from(sorted(read)), JSON)
    return st.one_of(mutated_bytes(log.read_bytes()), st.binary(max_size=200), anything, *changed)


def _named(name: str) -> Any:
    return lambda content: (name, content)


def _write(log: Path, other: Path, value: bytes | tuple[str, Any]) -> Path:
    if isinstance(value, bytes):
        other.write_bytes(value)
        return other
    with zipfile.ZipFile(log) as old, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(value[1]).encode() if name == value[0] else old.read(name))
    return other


def test_run_logs(log: Path, tmp_path: Path) -> None:
    def check(value: bytes | tuple[str, Any]) -> None:
        with contextlib.suppress(EvidenceError), RunLog(_write(log, tmp_path / "other.eval", value)) as found:
            header = found.header()
            scorers = scorer_names(header) or ["exact"]
            scores = run_scores(found.answers(), scorers, [1, 2, 3, 4], 1, "mean", own=header).by_scorer[scorers[0]]
            assert all(score is None or 0 <= score <= 1 for score in scores)
            mean_of(scores)
            standard_error_of(scores)

    fuzz("run logs", _inputs(log), check)


def test_linked_logs(log: Path, tmp_path: Path) -> None:
    assert read_linked_log(log, "u", MEAN_PERCENT, "percent", lambda: False).log is not None

    def check(value: bytes | tuple[str, Any]) -> None:
        found = read_linked_log(
            _write(log, tmp_path / "other.eval", value), "u", MEAN_PERCENT, "percent", lambda: False
        )
        assert (found.log is None) == bool(found.reason)
        assert is_clean(found.reason)
        assert len(found.reason) <= MAX_REASON_CHARS
        if found.log is not None:
            assert len(found.log.scores) > 0
            assert all(0 <= score <= 1 for score in found.log.scores)

    fuzz("linked logs", _inputs(log), check)
