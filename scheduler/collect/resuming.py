"""Attempts that were handed back: what is kept of them, and what the next one goes on from.

The control plane names a partial log by its digest and never reads it: whatever it holds, the log of the whole run is
checked like any other (scheduler/judging/evidence.py) before anything is believed.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler.collect.retrying import PASSING
from scheduler.database.tables import Attempt, Reproduction
from specs.measurement import Evidence, PartialLog, Resumed
from specs.messages import AttemptOutcome

IN_A_ROW = 3
"""Attempts that were handed back one after the other without one more answer, before the next has to wait."""

HANDED_BACK = 100
"""Times that one reproduction is handed back, whatever is said to be kept of it, before the next has to wait."""

JUDGE_WENT_AWAY = 20
"""Attempts in a row under which the judge went away, whatever is said to be kept of them, before these too end after
`queue_seconds`."""

GONE_ON_FROM = 2
"""Attempts that are to go on from one log and leave a shorter one, before theirs take its place."""


def keep(session: Session, reproduction: Reproduction, partial: PartialLog | None) -> None:
    """Enter what the current attempt left."""
    if partial is not None:
        attempt = session.get_one(Attempt, (reproduction.reproduction_id, reproduction.attempt))
        attempt.partial_sha256, attempt.partial_bytes = partial.sha256, partial.size_bytes
        attempt.partial_answers = partial.answers


def resume_of(reproduction: Reproduction) -> Evidence | None:
    """What the next attempt goes on from: the log with most answers, unless an attempt broke on it since.

    An attempt may leave fewer than it was to go on from: it was stopped while it took them over, or the store was away
    and it started over. Where a second one does, that log may be of no use (lost, or of an engine of another version).
    """
    if reproduction.attempt == 1:
        # Most are sent once, and there is nothing to look up.
        return None
    kept: list[Attempt] = []
    for attempt in reproduction.attempts:
        if attempt.outcome == AttemptOutcome.WORKER_FAILED:
            # It may have been that log; starting over is always right.
            kept = []
        elif attempt.partial_sha256 is not None:
            kept.append(attempt)
    while kept:
        best = max(kept, key=lambda each: (each.partial_answers or 0, each.number))
        later = [each for each in kept if each.number > best.number]
        if len(later) < GONE_ON_FROM and best.partial_sha256 is not None and best.partial_bytes is not None:
            return Evidence(sha256=best.partial_sha256, size_bytes=best.partial_bytes)
        kept = later
    return None


def without_progress(reproduction: Reproduction) -> list[Attempt]:
    """The latest attempts, latest first, as far as they ended as what is `PASSING` with no more answers than before."""
    attempts, idle = reproduction.attempts, []
    kept = [attempt.partial_answers or 0 for attempt in attempts]
    for place in reversed(range(len(attempts))):
        if attempts[place].outcome not in PASSING or kept[place] > max(kept[:place], default=0):
            break
        idle.append(attempts[place])
    return idle


def not_handed_back(reproduction: Reproduction, resumed: Resumed | None) -> str | None:
    """Why no attempt at this reproduction left what its last says that it went on from; None where one did."""
    if resumed is None:
        return None
    for attempt in reproduction.attempts:
        if attempt.partial_sha256 == resumed.sha256:
            if attempt.partial_answers == resumed.answers:
                return None
            return f"it went on from {resumed.answers} answers, of which {attempt.partial_answers} were kept"
    return "it went on from a log that no attempt at this reproduction left"
