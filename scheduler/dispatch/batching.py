"""Which queued reproductions of an engine make up a batch. Pure: facts in, a choice out.

The one whose turn is first is in it, however long it takes. Others of its engine go along, which spares them a load,
but not at the price of what it spares:

- None whose turn is after that of another who waits for a worker, of this engine or of another one: a more urgent one,
  or an older one of the class that has waited for too long (`run.hold_back_seconds`).
- While others wait, they add no more than a part of a load (`ALONG`) to the time for which the worker is taken. While
  nobody does, they and the first keep each other waiting for no longer than that: a long one may have short ones beside
  it. What does not go along gets a batch, and a worker, of its own.
- Where nobody else waits and no worker is idle, there is nothing for them but this engine: as many go along as run side
  by side, and as many more as keep each other waiting for no longer than `run.hold_back_seconds`, since somebody may
  come meanwhile.

Of how long a run takes the farm knows an estimate (specs/policy/cost.py); one without goes along only as far as it
keeps the engine full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from scheduler.dispatch.assignment import Assignment, Turn, last_turn_before
from specs.policy.run import RunRules

ALONG = 0.5
"""Of the time that it takes to load their engine: what those that go along may cost somebody who waits. So nobody loses
more by it than a part of what each of them is spared."""


@dataclass(frozen=True)
class Queued:
    """A reproduction that may be sent."""

    name: str
    """Its id."""

    turn: Turn
    seconds: float | None
    """That its run is taken to ask its engine; None where nobody knows."""


def fill_batch(queued: Sequence[Queued], assignment: Assignment, at: datetime, rules: RunRules) -> list[Queued]:
    """Those that make up a batch, of the queued ones of its engine in the order of their turns."""
    room, at_least = ALONG * assignment.load_seconds, 1
    if assignment.limit is None and not assignment.spare:
        room, at_least = most_room(assignment.load_seconds, rules), rules.side_by_side
    found: list[Queued] = []
    limit = assignment.limit
    for each in queued:
        if len(found) == rules.batch or (found and limit is not None and each.turn > limit):
            break
        fits = each.seconds is not None and _costs([*found, each], assignment.limit) <= room
        if fits or len(found) < at_least:
            found.append(each)
        else:
            # They come in the order of their turns, so this is before any other limit.
            limit = last_turn_before(each.turn, at, rules)
    return found


def batches_of(known: int, seconds: float, unknown: int, load_seconds: float, rules: RunRules) -> int:
    """How many batches the queued ones of an engine make up, each as full as `fill_batch` makes one at most.

    `known` ones are taken to ask for `seconds` in all, of which each is to be no more than `most_room`: a long one goes
    by itself while a worker is idle for it, and makes no more batches of the short ones beside it. Nobody knows how
    long the `unknown` ones take.
    """
    # Where each fills one, rounding would make one more of them.
    full = min(known, ceil(seconds / most_room(load_seconds, rules))) + ceil(unknown / rules.side_by_side)
    return max(full, ceil((known + unknown) / rules.batch))


def most_room(load_seconds: float, rules: RunRules) -> float:
    """Seconds for which those of a batch may keep each other waiting, where nobody else does."""
    return max(ALONG * load_seconds, rules.hold_back_seconds)


def _costs(batch: Sequence[Queued], limit: Turn | None) -> float:
    """Seconds that runs of a batch cost others who wait, beside the first; where none do, one another."""
    if limit is not None:
        return sum(each.seconds or 0.0 for each in batch[1:])
    known = [each.seconds for each in batch if each.seconds is not None]
    return sum(known) - (max(known) if len(known) == len(batch) else 0.0)
