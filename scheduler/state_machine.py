"""The states of claims and reproductions, and every way from one to another.

States are data, so that what can happen is read in one place; a pair that is not here is a bug or came too late.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from specs.errors import IllegalTransition


class ClaimState(StrEnum):
    """Where a claim is. What came out of it is its verdict."""

    SUBMITTED = "submitted"
    """Found on the Hub, not looked at yet."""

    PLANNED = "planned"
    """Waits for its reproduction."""

    BLOCKED = "blocked"
    """Waits for somebody; the reason says whose move it is."""

    DECIDED = "decided"
    """Has its verdict."""

    REJECTED = "rejected"
    """Not a readable claim; the reason is for its author."""

    WITHDRAWN = "withdrawn"
    """Removed or changed by its author, or its pull request was closed."""


class ReproductionState(StrEnum):
    """Where a reproduction is."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    """In a pool's queue, or taken by a worker that has not spoken yet."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """No claim needs it any more, somebody had it cancelled, its repo was closed or taken away between two attempts, or
    it was not done by its deadline.

    Claims that waited for one of the last two kinds are blocked or have failed."""


CLAIM_TRANSITIONS: dict[ClaimState, frozenset[ClaimState]] = {
    ClaimState.SUBMITTED: frozenset({ClaimState.PLANNED, ClaimState.BLOCKED, ClaimState.DECIDED, ClaimState.WITHDRAWN}),
    # Back to submitted when what blocked it may have changed: it is planned afresh.
    ClaimState.BLOCKED: frozenset({ClaimState.SUBMITTED, ClaimState.WITHDRAWN}),
    # Blocked when only the worker could find out, as with a gated repo.
    ClaimState.PLANNED: frozenset({ClaimState.DECIDED, ClaimState.BLOCKED, ClaimState.WITHDRAWN}),
    # A decided claim keeps its verdict when its author removes it; that too is part of the record.
    ClaimState.DECIDED: frozenset({ClaimState.WITHDRAWN}),
    ClaimState.REJECTED: frozenset({ClaimState.WITHDRAWN}),
    ClaimState.WITHDRAWN: frozenset(),
}

REPRODUCTION_TRANSITIONS: dict[ReproductionState, frozenset[ReproductionState]] = {
    ReproductionState.QUEUED: frozenset(
        # Failed straight from the queue: nobody took it within its deadline.
        {ReproductionState.DISPATCHED, ReproductionState.FAILED, ReproductionState.CANCELLED}
    ),
    ReproductionState.DISPATCHED: frozenset(
        {
            ReproductionState.RUNNING,
            # The message was lost with the broker.
            ReproductionState.QUEUED,
            # A short run's report can overtake its first heartbeat.
            ReproductionState.COMPLETED,
            ReproductionState.FAILED,
            ReproductionState.CANCELLED,
        }
    ),
    ReproductionState.RUNNING: frozenset(
        {
            ReproductionState.QUEUED,
            ReproductionState.COMPLETED,
            ReproductionState.FAILED,
            ReproductionState.CANCELLED,
        }
    ),
    ReproductionState.COMPLETED: frozenset(),
    ReproductionState.FAILED: frozenset(),
    ReproductionState.CANCELLED: frozenset(),
}

WAITING = (ReproductionState.QUEUED, ReproductionState.DISPATCHED)
IN_FLIGHT = (ReproductionState.DISPATCHED, ReproductionState.RUNNING)
ACTIVE = (*WAITING, ReproductionState.RUNNING)
CAME_TO_NOTHING = (ReproductionState.FAILED, ReproductionState.CANCELLED)
ENDED = (ReproductionState.COMPLETED, *CAME_TO_NOTHING)

State = TypeVar("State", ClaimState, ReproductionState)


def next_state(transitions: dict[State, frozenset[State]], old: State, new: State) -> State:
    """`new`, where `transitions` lead there from `old`.

    Raises:
        IllegalTransition: they do not.
    """
    if new not in transitions[old]:
        raise IllegalTransition(f"{type(old).__name__}: {old} does not lead to {new}")
    return new
