"""`reprofarm logs`: what happened to a claim or a reproduction, and what happens now."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deploy.cli.follow import OPEN
from deploy.cli.ids import claim_or_reproduction
from deploy.cli.options import DEFAULT_VAR, Api, Target, VarOfApi, farm_at, followed_farm_at
from deploy.cli.terminal import console, percent, shown
from deploy.client import FarmClient
from specs.api_v1.events import EventPage, EventView
from specs.api_v1.reproductions import ReproductionView

LOOK_SECONDS = 1.0
RESTORED = (
    "the farm was restored from a backup, and what happened after that is not in its record any more;"
    " from here on, what its record says differently from above, and what is new"
)
ENDED = ("completed", "failed", "cancelled")


def logs(
    target: Target,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it is decided or waits for something (blocked).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON, one a line.")] = False,
    var: VarOfApi = DEFAULT_VAR,
    api: Api = None,
) -> None:
    """Print what happened to a claim, or to a reproduction: who did what, when and why.

    While a run goes on and with --follow, its progress and its engine's last lines come between the events. A
    farm that is away for up to five minutes is waited for. One that comes back restored from a backup is said to be so,
    on stderr.
    """
    with followed_farm_at(api, var) if follow else farm_at(api, var) as farm:
        Tail(farm, target, as_json=as_json).print(follow=follow)


class Tail:
    """The events of one thing, each printed once."""

    def __init__(self, farm: FarmClient, target: str, *, as_json: bool) -> None:
        self._farm = farm
        self._as_json = as_json
        self._out: Console = console()
        self._last: EventView | None = None
        # Whole ones: a restored farm gives the ids of what it lost to other events.
        self._printed: set[EventView] = set()
        self._run_of_events: str | None = None
        self._progress = ""
        self._engine = ""
        self._claim_id: str | None
        self._run_id: str | None
        self._claim_id, self._run_id = claim_or_reproduction(
            target,
            lambda: (farm.claim(target).id, None),
            lambda: (None, farm.reproduction(target).id),
        )

    def print(self, *, follow: bool) -> None:
        """Print what there is, and with `follow` what comes, until nothing more does by itself."""
        while True:
            # Looked at before the events, so that the last of them is printed.
            ended = self._has_ended()
            for event in self._new_events():
                self._print_event(event)
            if not follow or ended:
                return
            self._print_run()
            time.sleep(LOOK_SECONDS)

    def _has_ended(self) -> bool:
        if self._claim_id is not None:
            claim = self._farm.claim(self._claim_id)
            self._run_id = claim.reproduction.id if claim.reproduction else None
            return claim.state not in OPEN
        return self._farm.reproduction(str(self._run_id)).state in ENDED

    def _new_events(self) -> list[EventView]:
        # A run that was there before the claim joined it has a history that is older than what was printed last.
        joined = self._claim_id is not None and self._run_id != self._run_of_events
        self._run_of_events = self._run_id
        found = self._record(None if joined or self._last is None else self._last.cursor)
        if found.reset is not None:
            console(stderr=True).print(RESTORED, soft_wrap=True)
            found = self._record(None)
            self._last = None
        known = [] if self._last is None else [self._last]
        self._last = max([*known, *found.items], key=lambda event: event.id, default=None)
        new = [event for event in found.items if event not in self._printed]
        self._printed.update(new)
        return new

    def _record(self, after: str | None) -> EventPage:
        if self._claim_id is not None:
            return self._farm.timeline(self._claim_id, after)
        return self._farm.timeline_of_reproduction(str(self._run_id), after)

    def _print_event(self, event: EventView) -> None:
        if self._as_json:
            print(event.model_dump_json(ensure_ascii=True))  # noqa: T201 - output for scripts
            return
        line = Text.assemble(
            (f"{event.at:%Y-%m-%d %H:%M:%S}  ", "dim"),
            shown(f"{event.subject} {event.what}", 80, style="bold"),
            "  ",
            shown(f"by {event.actor}:", 250, style="dim"),
            " ",
            shown(event.why, 8000),
        )
        self._out.print(line, soft_wrap=True)

    def _print_run(self) -> None:
        if self._as_json or self._run_id is None:
            return
        run = self._farm.reproduction(self._run_id)
        progress = _progress(run)
        if progress and progress != self._progress:
            self._out.print(Text.assemble("  ", shown(progress, 300, style="cyan")), soft_wrap=True)
            self._progress = progress
        engine = run.attempts[-1].detail if run.attempts and run.attempts[-1].ended_at is None else None
        for line in _after(self._engine, engine or ""):
            self._out.print(Text.assemble("  ", shown(f"engine: {line}", 1000, style="dim")), soft_wrap=True)
        self._engine = engine or self._engine


def _progress(run: ReproductionView) -> str:
    if run.state != "running":
        return ""
    doing = f"attempt {run.attempt}, {(run.stage or run.state).replace('_', ' ')}"
    if run.samples_total is None:
        return doing
    score = "" if run.score is None else f", score so far {percent(run.score)}"
    return f"{doing}: {run.samples_done} of {run.samples_total} samples{score}"


def _after(before: str, now: str) -> list[str]:
    """The lines of a log's tail that were not in the tail before."""
    known = before.splitlines()
    lines = now.splitlines()
    if not known:
        return lines
    # The tail moved on: what follows the last known line is new; where that is gone, all of it is.
    last = next((at for at in range(len(lines) - 1, -1, -1) if lines[at] == known[-1]), -1)
    return lines[last + 1 :]
