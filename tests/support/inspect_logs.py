"""Inspect logs, written by Inspect itself, and what somebody may have made of them since."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support import said_run
from tests.support.shared_runs import PROJECT, others_have_imported, printed_by

Change = Callable[[str, Any], Any]
"""Of one file in the log: its name and content; the new content, or None to leave it out."""


def inspect_log(folder: Path, targets: Sequence[str], said: Sequence[Sequence[str]]) -> Path:
    """The log of a run of samples with these targets; `said` has an answer for each epoch of each sample."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / "run.json"
    run.write_text(json.dumps({"targets": list(targets), "said": [list(each) for each in said]}))
    script, own = Path(said_run.__file__), {"XDG_DATA_HOME": str(folder / "xdg")}
    if others_have_imported():
        printed = printed_by(script, [str(folder), str(run)], own, folder)
    else:
        ended = subprocess.run(
            [sys.executable, str(script), str(folder), str(run)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), **own},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        printed = ended.stdout
    return Path(printed.splitlines()[-1])


def rewritten(log: Path, other: Path, change: Change) -> Path:
    """A copy of a log in which a change was made to every file of JSON."""
    with zipfile.ZipFile(log) as old, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = change(name, json.loads(old.read(name)))
            if content is not None:
                new.writestr(name, json.dumps(content))
    return other


def with_header(log: Path, other: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a log with another header."""

    def changed(name: str, content: Any) -> Any:
        if name == "header.json":
            change(content)
        return content

    return rewritten(log, other, changed)


def with_samples(log: Path, other: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a log with other samples."""

    def changed(name: str, content: Any) -> Any:
        if name.startswith("samples/"):
            change(content)
        return content

    return rewritten(log, other, changed)


def with_scores(log: Path, other: Path, scores: Sequence[float]) -> Path:
    """A copy of a log in which each sample has the score of its place."""

    def change(sample: dict[str, Any]) -> None:
        (score,) = sample["scores"].values()
        score["value"] = scores[sample["id"] - 1]

    return with_samples(log, other, change)
