"""The cells as a table: stages down, victims across."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from tests.chaos.cells import Cell
from tests.chaos.stages import BROKEN, STAGES

HEADING = "## What a run showed\n"


def put_into(page: Path, cells: Sequence[Cell]) -> None:
    """Replace what stands under the page's last heading by the tables of a run."""
    before, heading, _ = page.read_text().partition(HEADING)
    page.write_text(f"{before}{heading}\n{as_markdown(cells)}")


def as_table(cells: Sequence[Cell]) -> Table:
    """For a terminal: one line for each cell."""
    names = ("victim", "stage", "recovered in", "verdict", "verdicts", "badges", "told on the Hub", "attempts")
    table = Table(*names, title="left alone after each blow")
    for cell in cells:
        right = "" if cell.is_right else "WRONG: "
        counts = (str(cell.verdicts), str(cell.badges), str(cell.publications))
        table.add_row(
            cell.blow, cell.stage, f"{cell.seconds:.0f} s", f"{right}{cell.outcome}", *counts, ", ".join(cell.attempts)
        )
    return table


def as_markdown(cells: Sequence[Cell]) -> str:
    """Two tables, of seconds and of everything, for a page of the documentation."""
    return "\n".join((*_seconds(cells), "", *_all(cells), ""))


def _seconds(cells: Sequence[Cell]) -> Iterator[str]:
    stages = (*STAGES, BROKEN)
    yield f"| struck | {' | '.join(stages)} |"
    yield f"| --- |{' ---: |' * len(stages)}"
    for blow in dict.fromkeys(cell.blow for cell in cells):
        by_stage = {cell.stage: cell for cell in cells if cell.blow == blow}
        shown = (_short(by_stage[stage]) if stage in by_stage else "" for stage in stages)
        yield f"| {blow} | {' | '.join(shown)} |"


def _short(cell: Cell) -> str:
    return f"{cell.seconds:.0f}" if cell.is_right else f"**{cell.seconds:.0f}, {cell.outcome}**"


def _all(cells: Sequence[Cell]) -> Iterator[str]:
    yield "| struck | stage | seconds | verdict | verdicts | badges | on the Hub | attempts |"
    yield "| --- | --- | ---: | --- | ---: | ---: | ---: | --- |"
    for cell in cells:
        counts = f"{cell.verdicts} | {cell.badges} | {cell.publications}"
        attempts = ", ".join(cell.attempts)
        yield f"| {cell.blow} | {cell.stage} | {cell.seconds:.0f} | {cell.outcome} | {counts} | {attempts} |"
