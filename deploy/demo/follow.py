"""Shows what the farm does while it does it: a line for each change of state, a bar for the samples of each run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from deploy.cli.terminal import percent, shown
from deploy.client import ClaimFilter, FarmClient
from deploy.demo.claims import DemoClaim
from specs.api_v1.claims import ClaimView
from specs.api_v1.events import EventView
from specs.api_v1.reproductions import ReproductionSummary
from specs.api_v1.views import MAX_PAGE
from specs.errors import ReprofarmError
from specs.judging.verdict import Outcome

LOOK_SECONDS = 1.0
MAX_WHY_CHARS = 240
PLAIN_STEP = 0.25
"""Where there is no terminal for a bar, a line for each such part of the samples."""

_TOLD_STAGES = ("fetching", "starting_engine", "storing")
_ENDED = ("decided", "rejected", "withdrawn")


class DemoTimeout(ReprofarmError):  # noqa: N818 - what happened
    """The claims did not all end in time; says what was waited for."""


class Follower:
    """Follows a farm through its API until every claim has ended."""

    def __init__(self, out: Console, client: FarmClient, expected: Sequence[DemoClaim]) -> None:
        self._out = out
        self._client = client
        self._expected = expected
        self._claims: dict[str, ClaimView] = {}
        self._last_event: str | None = None
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[score]}"),
            TimeElapsedColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._bar_of: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}
        self._stages: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def follow(self, still_up: Callable[[], None], seconds: float) -> list[ClaimView]:
        """Show everything until all expected claims have ended; returns all claims.

        `still_up` is called at every look and raises where there is nothing left to wait for.

        Raises:
            DemoTimeout: they have not after that many seconds.
        """
        deadline = time.monotonic() + seconds
        while True:
            still_up()
            self._claims = {claim.id: claim for claim in self._client.claims(ClaimFilter(), MAX_PAGE).items}
            self._show_events()
            self._show_runs()
            waits = self._waits_for()
            if not waits:
                return list(self._claims.values())
            if time.monotonic() > deadline:
                raise DemoTimeout(f"after {seconds:.0f} s these have not ended:\n" + "\n".join(waits))
            time.sleep(LOOK_SECONDS)

    def _waits_for(self) -> list[str]:
        found = []
        for expected in self._expected:
            claim = find_claim(self._claims.values(), expected)
            if claim is None:
                found.append(f"  {expected.label}: not found on the Hub yet")
            elif claim.state not in _ENDED:
                found.append(f"  {expected.label}: {claim.state}, {claim.reason}; {claim.next_step}")
            elif _is_verified(claim) and (claim.publication is None or claim.publication.state == "pending"):
                found.append(f"  {expected.label}: verified, and its badge is not published yet")
        return found

    def _show_events(self) -> None:
        for event in self._client.events(self._last_event):
            self._last_event = event.cursor
            line = Text.assemble(
                (f"{event.at.astimezone():%H:%M:%S} ", "dim"),
                shown(self._subject(event), 120),
                ": ",
                shown(event.what, 50, style="bold"),
                ", ",
                shown(event.why, MAX_WHY_CHARS),
            )
            self._out.print(line, soft_wrap=True)

    def _subject(self, event: EventView) -> str:
        if event.subject == "claim":
            claim = self._claims.get(event.subject_id)
            return f"claim {_name(claim)}" if claim else f"claim {event.subject_id[:8]}"
        if event.subject == "reproduction":
            run = self._runs().get(event.subject_id)
            return f"run of {_run_name(run)}" if run else f"run {event.subject_id[:8]}"
        return f"{event.subject} {event.subject_id}"

    def _runs(self) -> dict[str, ReproductionSummary]:
        return {claim.reproduction.id: claim.reproduction for claim in self._claims.values() if claim.reproduction}

    def _show_runs(self) -> None:
        for run in self._runs().values():
            self._show_stage(run)
            if run.state == "running" and run.samples_total:
                self._show_run(run, run.samples_done, run.samples_total)
            elif run.id in self._bar_of and run.state != "running":
                self._bars.remove_task(self._bar_of.pop(run.id))

    def _show_stage(self, run: ReproductionSummary) -> None:
        # Between two events an engine starts, which takes long enough to wonder.
        if run.state == "running" and run.stage in _TOLD_STAGES and self._stages.get(run.id) != run.stage:
            self._stages[run.id] = run.stage
            self._out.print(f"         {_run_name(run)}: {run.stage.replace('_', ' ')}", soft_wrap=True)

    def _show_run(self, run: ReproductionSummary, done: int, total: int) -> None:
        score = percent(run.score, digits=1)
        if self._out.is_terminal:
            if run.id not in self._bar_of:
                self._bar_of[run.id] = self._bars.add_task(_run_name(run), total=total, score=score)
            self._bars.update(self._bar_of[run.id], completed=done, score=score)
        elif done / total >= self._told.get(run.id, 0.0) + PLAIN_STEP:
            self._told[run.id] = done / total
            self._out.print(f"         {_run_name(run)}: {done} of {total} samples, {score} so far", soft_wrap=True)


def find_claim(claims: Iterable[ClaimView], expected: DemoClaim) -> ClaimView | None:
    """The claim that the farm has for a submitted file; None where it has none."""
    return next(
        (
            claim
            for claim in claims
            if (claim.model, claim.path) == (expected.model, expected.path)
            and (claim.pull_request is not None) == expected.as_pull_request
        ),
        None,
    )


def _is_verified(claim: ClaimView) -> bool:
    return claim.verdict is not None and claim.verdict.outcome is Outcome.VERIFIED


def _name(claim: ClaimView) -> str:
    where = f" (pull request {claim.pull_request})" if claim.pull_request else ""
    return f"{claim.path.rpartition('/')[2]} of {claim.model.rpartition('/')[2]}{where}"


def _run_name(run: ReproductionSummary) -> str:
    return f"{run.model.rpartition('/')[2]} on {run.dataset.rpartition('/')[2]}"
