"""`reprofarm plan`: what judging a claim will cost, before any of it is run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deploy.cli.claims import STYLES, benchmark_of
from deploy.cli.options import DEFAULT_VAR, Api, AsJson, ClaimId, VarOfApi, farm_at
from deploy.cli.terminal import ERROR, console, pairs, percent, points, print_json, shown
from specs.api_v1.plan import ClaimPlan
from specs.hub.dataset_card import MAX_SAMPLES

SOURCES = {
    "measured": "as a run has found by now",
    "dataset card": "as the dataset's card says",
    "given": "as you say",
}


def plan(
    claim_id: ClaimId,
    samples: Annotated[
        int | None, typer.Option(min=1, max=MAX_SAMPLES, help="How many the task has, where the farm does not know.")
    ] = None,
    as_json: AsJson = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """Predict what judging a claim will cost, by how far it is from the truth, before it is run.

    Counts are means of simulated runs. Exit code: 0, or 3 where nothing can be said. With --json: the plan as the API
    gives it.
    """
    with farm_at(api, var) as farm:
        found = farm.plan(claim_id, samples)
    if as_json:
        print_json(found)
    elif found.samples is not None:
        _print(console(), found)
    if found.samples is None:
        out = console(stderr=True)
        out.print(shown(f"error: {'; '.join(found.words)}. Give it with --samples", 2000, "red"), soft_wrap=True)
        raise typer.Exit(ERROR)


def _print(out: Console, found: ClaimPlan) -> None:
    benchmark = benchmark_of(found.dataset, found.task)
    out.print(Text.assemble(shown(found.model, style="bold"), "  ", shown(benchmark)))
    out.print(pairs(_facts(found)))
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for heading in ("  if it is off by", "samples", "of all"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for case in found.cases:
        chances = {"verified": case.verified, "mismatch": case.mismatch, "inconclusive": case.undecided}
        verdict = Text(str(case.verdict), style=STYLES.get(case.verdict, ""))
        table.add_row(
            f"{100 * case.off_by:.0f} points",
            f"{case.samples:.0f}",
            percent(case.part, digits=0),
            Text.assemble(verdict, f" ({percent(chances[case.verdict], digits=0)})"),
        )
    out.print()
    out.print(table)
    if found.words:
        out.print("\nKnow before", style="bold")
        for words in found.words:
            out.print(Padding(shown(words, 2000), (0, 0, 0, 2)))


def _facts(found: ClaimPlan) -> Iterator[tuple[str, Text | str]]:
    yield "claim", found.claim_id
    yield "claimed", percent(found.claimed)
    yield "samples", f"{found.samples}, {SOURCES[found.samples_source or 'given']}"
    yield "tolerance", points(found.tolerance)
    yield "chance", f"honest runs differ by up to {points(found.noise)}"
    if found.gpu_seconds is not None:
        cost = f"about {found.gpu_seconds:,.0f} GPU-seconds, when it was planned ({found.gpu_seconds_basis})"
        yield "cost", shown(cost, 1000)
    if found.doubtful_beyond is not None:
        yield "in doubt", f"up to {points(found.doubtful_beyond)}"
    if found.mode == "full":
        how = "runs every sample"
    elif found.every_sample:
        how = "stops when it is sure, but for this run, which asks every sample"
    else:
        how = f"stops when it is sure (alpha {found.alpha:g})"
    yield "mode", f"{found.mode}: {how}"
    if found.sample_limit is not None:
        yield "limit", f"{found.sample_limit} samples"
    if found.epochs > 1:
        yield "epochs", str(found.epochs)
