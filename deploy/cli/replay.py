"""`reprofarm replay`: what verification would have cost on results that are already known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from deploy.cli.options import AsJson
from deploy.cli.terminal import console, percent, points, print_json
from specs.errors import SubmissionError
from specs.judging.replay import Replayed, ResultTable, Settings
from specs.judging.replay import replay as replayed


def replay(  # noqa: PLR0913, PLR0917 - typer's options are arguments
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Parquet: question id, then one 0/1 column a model.")
    ],
    tolerance: Annotated[float, typer.Option(min=1e-6, max=1.0, help="Absolute, as a proportion.")],
    shift: Annotated[list[float] | None, typer.Option(help="Claim the true score plus this. Repeatable.")] = None,
    alpha: Annotated[
        float, typer.Option(min=1e-12, max=0.49, help="Chance that a verdict differs from the full run's.")
    ] = 0.001,
    history: Annotated[Path | None, typer.Option(help="Such a table of earlier runs of other models.")] = None,
    paired_noise: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Pair with a log in which this part of answers differs.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Random orders for each model.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Replay verification on a table of real per-question results, with the code that the farm runs.

    Each model's claim is its true score plus each shift. A column of the same name in the history is left out.
    Exit codes: 0 every verdict agreed with the full run's, 1 some did not, 3 a table cannot be read.
    """
    settings = Settings(
        tolerance=tolerance,
        alpha=alpha,
        shifts=tuple(shift or [0.0]),
        seeds=seeds,
        history=read_results(history) if history else None,
        paired_noise=paired_noise,
    )
    table = read_results(results)
    count = len(table.models) * seeds * len(settings.shifts) * len(settings.modes)
    console(stderr=True).print(f"replaying {count} verifications of {len(table.questions)} questions")
    rows = list(replayed(table, settings))
    if as_json:
        print_json(rows)
    else:
        console().print(_table(rows))
    raise typer.Exit(int(any(row.disagreements for row in rows)))


def read_results(path: Path) -> ResultTable:
    """A table of per-question results.

    Raises:
        SubmissionError: not such a table, or the reader is not installed; the user can act on it.
    """
    try:
        import pyarrow  # noqa: PLC0415 - the control plane does without it
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise SubmissionError(
            "reading Parquet needs pyarrow: install reprofarm with its extra `cpu` or `gpu`"
        ) from error
    try:
        columns: dict[str, list[Any]] = pyarrow.parquet.read_table(path).to_pydict()
    except (OSError, pyarrow.ArrowException) as error:
        raise SubmissionError(f"{path}: not readable as Parquet: {error}") from error
    names = list(columns)
    questions = tuple(columns[names[0]]) if names else ()
    if len(names) < 2 or not questions:
        raise SubmissionError(f"{path}: expected a column of question ids, a column for each model, and rows")
    if len(set(questions)) != len(questions) or not all(isinstance(each, int | str) for each in questions):
        raise SubmissionError(f"{path}: the first column, {names[0]!r}, must hold unique question ids")
    return ResultTable(questions=questions, models={name: _scores(path, name, columns[name]) for name in names[1:]})


def _scores(path: Path, name: str, values: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        scores = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SubmissionError(f"{path}: column {name!r} does not hold scores: {error}") from error
    scored = scores[~np.isnan(scores)]
    if not len(scored) or not np.isin(scored, (0.0, 1.0)).all():
        raise SubmissionError(f"{path}: column {name!r} must hold 0, 1 or nothing, and not nothing alone")
    return scores


def _table(rows: Sequence[Replayed]) -> Table:
    table = Table(box=None)
    table.add_column("mode")
    for title in ("claim off by", "samples used", "95 % used", "verified", "mismatch", "inconclusive", "disagree"):
        table.add_column(title, justify="right")
    for row in rows:
        counts = (row.verified, row.mismatch, row.inconclusive, row.disagreements)
        used = percent(row.mean_fraction), percent(row.p95_fraction)
        table.add_row(row.mode, points(row.shift), *used, *map(str, counts))
    return table
