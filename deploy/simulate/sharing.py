"""When each run of a batch begins and ends on its engine. Pure: no clock.

As many runs go side by side as policy has it, and each may have so many requests in flight as the farm's own
`workers.batches.flow_control.shares` gives it. A step of decoding reads the weights once, for as many answers as are in
flight (`specs/policy/cost.py`), so a run with `k` of them in flight gets `k` answers in the time of one, whatever runs
beside it. Once a run has asked all that it will ask, its last answers take the time of one still, fewer and fewer of
them in flight; what it leaves is the others'. A run by itself takes `answers · time of one / concurrency`, which is
what the farm reckons, and the time of one answer at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from workers.batches.flow_control import shares

LOOKS = 4
"""At what a run near its end leaves to the others, in the time of one answer. The farm looks every two seconds."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Load:
    """What a run asks of its engine."""

    answers: float
    answer_seconds: float
    """From a request to its answer."""


@dataclass(frozen=True)
class Span:
    """Of a run, in seconds since its batch began."""

    began: float
    ended: float


@dataclass
class _Run:
    load: Load
    began: float
    number: int
    """In its batch."""

    left: float
    """Answers that it does not have yet; while it still asks."""

    asks: bool = True
    held: float = 0.0
    """Requests in flight, as long as it asks; else those it had when it stopped."""

    looks: int = 0
    """At what it leaves to the others, since it stopped asking."""

    until: float = 0.0
    """When it stops asking, if nothing changes; or when the next look is."""

    @property
    def in_flight(self) -> float:
        """Requests, now."""
        return self.held * (1 - self.looks / LOOKS)

    def take(self, share: float, at: float) -> None:
        """Have so many requests in flight from now on, if there is so much to ask."""
        self.held = min(share, self.left)
        self.asks = self.left > self.held + _ROUNDING
        wait = (self.left - self.held) / self.held if self.asks else 1 / LOOKS
        self.until = at + wait * self.load.answer_seconds

    def pass_by(self, seconds: float, at: float) -> None:
        """Answers come in."""
        if self.asks:
            self.left -= self.held / self.load.answer_seconds * seconds
        elif at >= self.until:
            self.looks += 1
            self.until += self.load.answer_seconds / LOOKS


def spans(loads: Sequence[Load], side_by_side: int, concurrency: int) -> list[Span]:
    """Of runs that are worked through in their order, so many at once at most."""
    found: dict[int, Span] = {}
    active: list[_Run] = []
    at, begun = 0.0, 0
    while len(found) < len(loads):
        while len(active) < side_by_side and begun < len(loads):
            active.append(_Run(loads[begun], at, begun, loads[begun].answers))
            begun += 1
        _share_out(active, concurrency, at)
        earlier, at = at, min(run.until for run in active)
        for run in active:
            run.pass_by(at - earlier, at)
        found |= {run.number: Span(run.began, at) for run in active if run.looks == LOOKS}
        active = [run for run in active if run.looks < LOOKS]
    return [found[number] for number in range(len(loads))]


def _share_out(active: Sequence[_Run], concurrency: int, at: float) -> None:
    """Have those that still ask use their shares, as far as the last answers of the others leave room."""
    given = shares(concurrency, [ceil(run.left if run.asks else run.in_flight) for run in active])
    room = concurrency - sum(run.in_flight for run in active if not run.asks)
    for run, share in zip(active, given, strict=True):
        if run.asks:
            run.take(max(1.0, min(share, room)), at)
            room -= run.held
