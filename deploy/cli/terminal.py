"""How the commands write on a terminal, or into a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table
from rich.text import Text

from specs.text import clean

MAX_LINE_CHARS = 2000
MAX_REASON_CHARS = 8000
"""As many as the record keeps of one; some have the last lines of an engine's log."""

PIPE_COLUMNS = 160
"""Width where nobody can say how wide it is: a log, a file."""

OK, MISMATCH, UNDECIDED, ERROR = 0, 1, 2, 3
"""Exit codes of all commands."""

INTERRUPTED = 130
"""The shell's own code for Ctrl-C."""

PIPE_CLOSED = 141
"""The shell's own code for who writes to a pipe that nobody reads any more, as before `head`."""


class _Console(Console):
    """Leaves it to the command what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        """Rich would exit with 1, which means "mismatch" here."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console that neither cuts tables short in a pipe nor reads markup or emoji codes in what it prints."""
    found = _Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)
    if is_endless(found):
        found.width = PIPE_COLUMNS
    return found


def is_endless(out: Console) -> bool:
    """Whether nobody can say how wide it is, so that a line may be as long as it is."""
    return not out.is_terminal and "COLUMNS" not in os.environ


def shown(text: str | None, max_chars: int = 300, style: str = "") -> Text:
    """Text from outside, safe to print: one line, without characters that act."""
    return Text(clean(text, max_chars) if text else "", style=style)


def say(*lines: str) -> None:
    """Say what was done, a line each."""
    for line in lines:
        console().print(shown(line, MAX_LINE_CHARS), soft_wrap=True)


def pairs(rows: Iterable[tuple[str, Text | str]]) -> Table:
    """Names with their values, a line each."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(f"  {name}", value)
    return table


def print_json(value: object) -> None:
    """JSON on standard output, in plain ASCII: what would act on a terminal is escaped.

    `value` may be a model, or have models in it.
    """
    data = to_jsonable_python(value, by_alias=False)
    print(json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False))  # noqa: T201 - output for scripts


def print_json_list(items: Sequence[object]) -> None:
    """A whole list in the form of the API's pages, of which nothing follows."""
    print_json({"items": items, "next": None})


def percent(proportion: float | None, digits: int = 2) -> str:
    """A proportion as people write it; a dash where there is none."""
    return "–" if proportion is None else f"{100 * proportion:.{digits}f} %"


def points(difference: float | None) -> str:
    """A difference of proportions, in percentage points."""
    return "–" if difference is None else f"{100 * difference:.2f} points"


def ago(then: datetime, at: datetime | None = None) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0.0, ((at or datetime.now(UTC)) - then) / timedelta(seconds=1))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
