"""`reprofarm check`: what would become of a benchmark, a result file or an answer of the Hub's API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deploy.cli.options import AsJson
from deploy.cli.terminal import ERROR, MISMATCH, OK, console, print_json, shown
from specs.errors import SubmissionError
from specs.hub.check import CheckedFile, check_path

MAX_LINE_CHARS = 600
_STYLES = {
    "runnable": "green",
    "accepted": "green",
    "needs_judge": "yellow",
    "accepted_with_warning": "yellow",
    "unsupported": "magenta",
    "invalid": "red",
    "rejected": "red",
}


def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files, or folders to search for files of these formats.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check whether a farm can run an eval.yaml or read a result file, and say why not.

    Takes eval.yaml, .eval_results/*.yaml, and JSON answers of the Hub's API (a leaderboard, a model's evalResults).
    Exit codes: 0 nothing was invalid or rejected, 1 something was, 3 a file cannot be read.
    """
    checked: list[CheckedFile] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            found = check_path(path)
        except SubmissionError as error:
            unreadable.append(str(error))
            continue
        checked += found
        if not found:
            unreadable.append(f"{path}: no file of these formats in this folder")
    if as_json:
        print_json(checked)
    else:
        _print_table(console(), checked)
    for reason in unreadable:
        console(stderr=True).print(Text("error: ").append(shown(reason, MAX_LINE_CHARS)), style="red", soft_wrap=True)
    raise typer.Exit(ERROR if unreadable else OK if all(each.is_sound for each in checked) else MISMATCH)


def _print_table(out: Console, checked: list[CheckedFile]) -> None:
    for each in checked:
        head = shown(each.path, MAX_LINE_CHARS, "bold").append(": ").append(each.status, _STYLES[each.status])
        out.print(head.append(f" ({each.kind}{_counted(each)})", "dim"), soft_wrap=True)
        for reason in each.reasons:
            out.print(Text("  ").append(shown(reason, MAX_LINE_CHARS)), soft_wrap=True)
        for warning in each.warnings:
            out.print(Text("  warning: ", "yellow").append(shown(warning, MAX_LINE_CHARS)), soft_wrap=True)


def _counted(checked: CheckedFile) -> str:
    """How many entries have which status, where there are several."""
    statuses = [entry.status.value for entry in checked.entries]
    if len(statuses) < 2:
        return ""
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    return f"; {counts}"
