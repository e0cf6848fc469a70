"""Lists as tables: each thing a line, and its reason beside it or, where there is no room, below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deploy.cli.terminal import is_endless

MAX_NAME_CHARS, LEAST_NAME_CHARS = 45, 6
GAP_CHARS = 2
LEAST_WHY_CHARS = 40
"""With less room beside them, reasons stand below."""


@dataclass(frozen=True)
class Column:
    """What stands in one column of every line but the last, which is the reason."""

    heading: str
    cells: Sequence[Text]
    number: bool = False
    """Stands on the right."""

    breaks: bool = False
    """A name, that goes on in the next line where there is no room."""

    spare: bool = False
    """Stands with the reason, after its heading, where there is no room for all columns in one line."""

    @property
    def longest(self) -> int:
        """So many characters it takes whole."""
        return max([len(self.heading), *(cell.cell_len for cell in self.cells)])


@dataclass(frozen=True)
class Reason:
    """Why something is as it is."""

    words: Text
    whole: bool = False
    """Somebody has to act on it: it is never cut."""


def print_listing(out: Console, columns: Sequence[Column], reasons: Sequence[Reason]) -> None:
    """Print the table: on a terminal within its width, in a pipe a line for each thing, with all of its reason."""
    if is_endless(out):
        widths = [column.longest for column in columns]
        beside = max([0, *(reason.words.cell_len for reason in reasons)])
        below: list[Column] = []
        kept = list(columns)
    else:
        needed = _chars([_usual_width(column) for column in columns])
        below = [column for column in columns if column.spare and needed > out.width]
        kept = [column for column in columns if column not in below]
        widths = _widths(kept, out.width)
        left = out.width - _chars(widths) - GAP_CHARS
        beside = left if left >= LEAST_WHY_CHARS else 0
    why = Text("why", "bold") if beside and any(reason.words for reason in reasons) else Text()
    headings = [Text(column.heading, "bold") for column in kept]
    _print_line(out, kept, widths, [*headings, why], beside)
    for number, reason in enumerate(reasons):
        fits = reason.words.cell_len <= beside or (beside > 0 and not reason.whole)
        cells = [column.cells[number] for column in kept]
        _print_line(out, kept, widths, [*cells, reason.words if fits else Text()], beside)
        words = Text(": ").join(_words_below(below, number, Text() if fits else reason.words))
        if words:
            line = Padding(words, (0, 0, 0, GAP_CHARS), expand=False)
            out.print(line, no_wrap=not reason.whole, overflow="fold" if reason.whole else "ellipsis")


def _words_below(below: Sequence[Column], number: int, reason: Text) -> Iterator[Text]:
    for column in below:
        yield Text(f"{column.heading} ", "dim").append_text(column.cells[number])
    if reason:
        yield reason


def _usual_width(column: Column) -> int:
    return min(column.longest, MAX_NAME_CHARS) if column.breaks else column.longest


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Of the columns in so many characters: the longest names give way first."""
    found = [_usual_width(column) for column in columns]
    names = [at for at, column in enumerate(columns) if column.breaks]
    while _chars(found) > width and any(found[at] > LEAST_NAME_CHARS for at in names):
        found[max(names, key=lambda at: found[at])] -= 1
    return found


def _chars(widths: Sequence[int]) -> int:
    return sum(widths) + GAP_CHARS * (len(widths) - 1)


def _print_line(
    out: Console, columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Text], beside: int
) -> None:
    """A line of the table, whose last cell is the reason."""
    *_, reason = cells
    line = Table.grid(padding=(0, GAP_CHARS, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        line.add_column(
            width=width, justify="right" if column.number else "left", overflow="fold", no_wrap=not column.breaks
        )
    if reason:
        # No wider than what is in it: in a pipe the longest reason would fill up every line.
        line.add_column(width=min(beside, reason.cell_len), overflow="ellipsis", no_wrap=True)
    line.width = _chars([column.width or 0 for column in line.columns])
    line.add_row(*cells[: len(line.columns)])
    out.print(line, crop=False)
