"""`make bench-samples`: what verdicts cost on real results, the least that theory allows, and how often they err."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
from rich.table import Table

from deploy.cli.terminal import console, percent, points
from deploy.studies.coverage import COVERED, EDGES, edge_total, wrong_answers
from deploy.studies.limits import fewest_paired_samples, fewest_samples
from deploy.studies.replay import Mode, Replayed, ResultTable, Settings, read_results, replay
from specs.judging.band import Floats
from specs.judging.sequential import SequentialDecider
from specs.judging.stopping_rule import ClaimedScore, StoppingRule

TOLERANCE, ALPHA, NOISE = 0.02, 0.001, 0.03
SHIFTS = (0.0, 0.05, 0.1, 0.2)


def main() -> int:
    """Print both tables; 1 if a verdict differed from the full run's or came out wrong more often than alpha."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sequences", type=int, default=10_000)
    options = parser.parse_args()
    table = read_results(options.results)
    out = console()
    out.print(f"replaying {len(table.models)} models in {options.seeds} orders: tolerance {TOLERANCE}, alpha {ALPHA}")
    settings = Settings(TOLERANCE, ALPHA, SHIFTS, options.seeds, history=table, paired_noise=NOISE)
    rows = list(replay(table, settings))
    out.print(_samples(rows, table))
    out.print(f"taking in one more sample and looking again: {_microseconds_per_look(table):.0f} µs on average")
    coverage, too_often = _coverage(options.sequences)
    out.print(coverage)
    return int(too_often or any(row.disagreements for row in rows))


def _samples(rows: list[Replayed], table: ResultTable) -> Table:
    shown = Table(title="Part of the samples used", box=None)
    for title in ("mode", "claim off by", "mean", "95 %", "least possible", "verified", "mismatch", "disagree"):
        shown.add_column(title, justify="left" if title == "mode" else "right")
    for row in rows:
        shown.add_row(
            row.mode,
            points(row.shift),
            percent(row.mean_fraction),
            percent(row.p95_fraction),
            percent(_least(row.mode, row.shift, table)),
            *map(str, (row.verified, row.mismatch, row.disagreements)),
        )
    return shown


def _least(mode: Mode, shift: float, table: ResultTable) -> float | None:
    """Mean over the models of the lower limit; None where none is known."""
    if mode == "plain":
        return float(np.mean([_least_of(scores, shift) for scores in table.models.values()]))
    if mode == "paired" and not shift:
        population = len(table.questions)
        distance = math.floor(TOLERANCE * population) + 1
        return fewest_paired_samples(population, round(NOISE * population), distance, ALPHA) / population
    return None


def _least_of(scores: Floats, shift: float) -> float:
    population, right = len(scores), int(np.nansum(scores))
    claimed = min(1.0, right / population + shift)
    # A true claim is told from all totals above the band and below it; a false one from the nearest total inside.
    others = [edge_total(claimed, TOLERANCE, population, edge) for edge in ("just above", "just below")]
    if shift:
        others = [edge_total(claimed, TOLERANCE, population, "just inside, low" if shift > 0 else "just inside, high")]
    return fewest_samples(population, right, others, ALPHA) / population


def _microseconds_per_look(table: ResultTable) -> float:
    """Of a run whose scores come one by one, until it stops."""
    scores = np.random.default_rng(0).permutation(next(iter(table.models.values()))).tolist()
    claim = ClaimedScore(claimed=float(np.mean(scores)), tolerance=TOLERANCE)
    decider = SequentialDecider(
        StoppingRule(
            claims=(claim,), population=len(scores), alpha=ALPHA, minimum_samples=20, maximum_failed_fraction=0.02
        )
    )
    started = time.perf_counter()
    for score in scores:
        if decider.feed([score]):
            break
    return (time.perf_counter() - started) / decider.seen * 1e6


def _coverage(sequences: int) -> tuple[Table, bool]:
    """The table, and whether the tests are wrong more often than they may."""
    shown = Table(
        title=f"Wrong answers at the band's edges, of {sequences} orders, looking after every sample", box=None
    )
    for title in ("samples", "claimed", "tolerance", "full run's score", "wrong", "probability", "alpha"):
        shown.add_column(title, justify="right")
    too_often = False
    for claimed, tolerance, population in COVERED:
        for edge in EDGES:
            found = wrong_answers(claimed, tolerance, population, ALPHA, edge, sequences)
            score = f"{percent(found.right / population, 3)}, {edge}"
            shown.add_row(
                str(population),
                percent(claimed),
                percent(tolerance),
                score,
                str(found.wrong),
                f"{found.probability:.6f}",
                str(ALPHA),
            )
            too_often |= found.probability > ALPHA
    return shown, too_often


if __name__ == "__main__":
    sys.exit(main())
