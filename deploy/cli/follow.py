"""Claims and runs followed to their end, on a terminal as bars and in a log as lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from deploy.cli.claims import benchmark_of
from deploy.cli.reproductions import how_far
from deploy.cli.terminal import shown
from deploy.client import FarmClient
from specs.api_v1.claims import ClaimView

LOOK_SECONDS = 1.0
OPEN = ("submitted", "planned")
"""States that the farm leaves by itself. A blocked claim waits for somebody, which may take for ever."""


def follow(farm: FarmClient, claim_ids: Sequence[str], out: Console) -> list[ClaimView]:
    """Wait until the farm has nothing left to do for any of the claims; how they are then."""
    seen: dict[str, ClaimView] = {}
    with _progress(out) as progress:
        bars: dict[str, TaskID] = {}
        for found in _looks(farm, claim_ids):
            for claim in found:
                if out.is_terminal:
                    _draw(progress, bars, claim)
                elif _stage(claim) != _stage(seen.get(claim.id)):
                    out.print(shown(f"{claim.id[:8]} {_words(claim)}", 1000), soft_wrap=True)
                seen[claim.id] = claim
    return [seen[claim_id] for claim_id in seen]


def _looks(farm: FarmClient, claim_ids: Sequence[str]) -> Iterator[list[ClaimView]]:
    while True:
        found = [farm.claim(claim_id) for claim_id in claim_ids]
        yield found
        if all(claim.state not in OPEN for claim in found):
            return
        time.sleep(LOOK_SECONDS)


def _progress(out: Console) -> Progress:
    return Progress(
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[words]}", markup=False),
        TimeElapsedColumn(),
        console=out,
        disable=not out.is_terminal,
    )


def _draw(progress: Progress, bars: dict[str, TaskID], claim: ClaimView) -> None:
    run = claim.reproduction
    total, done = (run.samples_total, run.samples_done) if run else (None, 0)
    name = shown(f"{claim.model}  {benchmark_of(claim.dataset, claim.task)}", 80).plain
    if claim.id not in bars:
        bars[claim.id] = progress.add_task("", total=None, name=name, words="")
    finished = claim.state not in OPEN
    progress.update(
        bars[claim.id],
        total=1 if finished else total,
        completed=1 if finished else done,
        words=shown(_words(claim), 100).plain,
    )


def _stage(claim: ClaimView | None) -> tuple[str | int | None, ...]:
    """What a line in a log is worth: of the samples, each tenth of them."""
    if claim is None:
        return ()
    run = claim.reproduction
    if run is None:
        return (claim.state,)
    tenths = 10 * run.samples_done // run.samples_total if run.samples_total else 0
    return (claim.state, run.state, run.stage, tenths)


def _words(claim: ClaimView) -> str:
    if claim.verdict:
        return f"{claim.verdict.outcome}: {claim.verdict.reason}"
    run = claim.reproduction
    if claim.state != "planned" or run is None:
        return f"{claim.state}: {claim.reason}"
    if run.state != "running":
        return f"{run.state}: {run.reason}"
    stage = (run.stage or run.state).replace("_", " ")
    return f"{stage}: {how_far(run)}" if run.samples_total is not None else stage
