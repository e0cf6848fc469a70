"""Lists as tables: each thing a line, with as much of its reason as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

MAX_NAME_CHARS = 45
GAP_CHARS = 2
LEAST_WHY_CHARS = 16
"""A reason of which less can be seen is left out; `--json` has all of it."""


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
    """Left out where there is no room for all columns in one line."""

    @property
    def chars(self) -> int:
        """So many it takes, if its names are not very long."""
        longest = max([len(self.heading), *(cell.cell_len for cell in self.cells)])
        return min(longest, MAX_NAME_CHARS) if self.breaks else longest


def listing(columns: Sequence[Column], reasons: Sequence[Text], width: int) -> Table:
    """The table for a terminal of so many characters.

    Reasons get what the other columns leave. Left to itself the table gives a long one the room of all others.
    """
    needed = sum(column.chars + GAP_CHARS for column in columns)
    with_reasons = any(reasons) and width - needed >= LEAST_WHY_CHARS
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP_CHARS, 0, 0), expand=with_reasons)
    kept = [column for column in columns if needed <= width or not column.spare]
    for column in kept:
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            overflow="fold",
            no_wrap=not column.breaks,
            min_width=column.chars if with_reasons else None,
        )
    if with_reasons:
        table.add_column("why", overflow="ellipsis", no_wrap=True, ratio=1)
    for cells, reason in zip(zip(*(column.cells for column in kept), strict=True), reasons, strict=True):
        table.add_row(*cells, *([reason] if with_reasons else []))
    return table
