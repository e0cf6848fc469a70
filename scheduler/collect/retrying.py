"""What follows from an attempt that did not complete: whose fault it was, and whether another try makes sense."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from scheduler.record import RECHECK
from specs.messages import AttemptOutcome
from specs.policy.engine import EngineRules
from specs.policy.run import RunRules

FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0

LONGEST_BLOCKED = timedelta(days=1)
"""Between two runs of which each is to find out whether what blocked the one before is gone."""


class Consequence(StrEnum):
    """What follows from a failed attempt."""

    RETRY = "retry"
    """Our own fault, or a passing one: again, until the attempts are used up."""

    WAIT = "wait"
    """Nobody's failure, and it passes: again, without using up an attempt."""

    SMALLER = "smaller"
    """Once more with an engine that needs less memory."""

    BLOCK = "block"
    """Somebody has to act first."""

    GIVE_UP = "give_up"
    """No further attempt would end otherwise; the claims fail."""

    UNSUPPORTED = "unsupported"
    """The benchmark cannot be run as it stands."""

    NOTHING = "nothing"
    """It was wanted so."""


CONSEQUENCES: dict[AttemptOutcome, Consequence] = {
    AttemptOutcome.MODEL_FAILED: Consequence.GIVE_UP,
    AttemptOutcome.SPEC_FAILED: Consequence.UNSUPPORTED,
    # The same model with the same settings on the same pool needs the same memory.
    AttemptOutcome.OUT_OF_MEMORY: Consequence.SMALLER,
    AttemptOutcome.ENGINE_FAILED: Consequence.RETRY,
    # The next attempt would load the engine to ask the same.
    AttemptOutcome.REQUESTS_REFUSED: Consequence.GIVE_UP,
    AttemptOutcome.HUB_AWAY: Consequence.WAIT,
    AttemptOutcome.NO_ACCESS: Consequence.BLOCK,
    AttemptOutcome.JUDGE_AWAY: Consequence.WAIT,
    AttemptOutcome.JUDGE_REFUSES: Consequence.BLOCK,
    # Another worker may have room; this one has again once its operator made some.
    AttemptOutcome.DISK_FULL: Consequence.WAIT,
    # Another worker may have a free device; this one has it again once others let go of it.
    AttemptOutcome.DEVICE_BUSY: Consequence.WAIT,
    AttemptOutcome.STALLED: Consequence.RETRY,
    # It had all the time that policy grants; it would take as long again.
    AttemptOutcome.TIMED_OUT: Consequence.GIVE_UP,
    AttemptOutcome.CANCELLED: Consequence.NOTHING,
    AttemptOutcome.WORKER_FAILED: Consequence.RETRY,
    # Reports of it go another way, which has no pause: scheduler/collect/ending.py, `hand_back`.
    AttemptOutcome.HANDED_BACK: Consequence.WAIT,
    AttemptOutcome.LOST: Consequence.RETRY,
    AttemptOutcome.INTERRUPTED: Consequence.WAIT,
}

BLOCKING = frozenset(outcome for outcome, consequence in CONSEQUENCES.items() if consequence is Consequence.BLOCK)
"""What somebody has to act on."""

PASSING = frozenset(outcome for outcome, consequence in CONSEQUENCES.items() if consequence is Consequence.WAIT)
"""What uses up no attempt, and passes. Where one such thing follows another, none of them ends the wait."""


def smaller(engine: EngineRules) -> EngineRules:
    """An engine that needs less memory and gives the same answers: fewer at once, and no captured graphs.

    Less context would need less memory too, but cuts answers: that would be another measurement.
    """
    return engine.model_copy(update={"concurrency": max(1, engine.concurrency // 4), "enforce_eager": True})


def engine_in_words(engine: EngineRules) -> str:
    """What `smaller` changes."""
    graphs = "without captured graphs" if engine.enforce_eager else "with captured graphs"
    return f"{engine.concurrency} {'request' if engine.concurrency == 1 else 'requests'} at once, {graphs}"


def next_try_seconds(outcome: AttemptOutcome, failures: int, deaths: int, run: RunRules) -> float | None:
    """Seconds until the next attempt after one whose consequence is `RETRY`; None where there is none.

    Args:
        outcome: Of that attempt.
        failures: So many attempts have failed, with that one.
        deaths: So many workers have died over them, with that one's.
        run: Policy's.
    """
    if is_deadly(outcome, deaths, run) or failures >= run.attempts:
        return None
    return retry_delay_seconds(failures)


def is_deadly(outcome: AttemptOutcome, deaths: int, run: RunRules) -> bool:
    """Whether no other worker is risked, of which so many have died."""
    return outcome is AttemptOutcome.LOST and deaths >= run.worker_deaths


def retry_delay_seconds(failures: int) -> float:
    """Seconds until the next attempt after so many failures: doubles from 10 s, an hour at most."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(max(failures - 1, 0), 60), LONGEST_RETRY_SECONDS)


def blocked_for(blocked: int) -> timedelta:
    """Until claims whose run was blocked have another, after so many in a row: doubles from `RECHECK`, a day at most.

    Each takes a worker, for which a node with GPUs may be started. Whoever put right what blocks them need not wait for
    it: claims that are retried, or approved, are planned at once.
    """
    return min(RECHECK * 2.0 ** min(max(blocked - 1, 0), 60), LONGEST_BLOCKED)
