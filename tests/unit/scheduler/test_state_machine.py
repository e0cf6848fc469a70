"""The state machines, one arrow at a time."""

from __future__ import annotations

import itertools

import pytest

from scheduler.state_machine import (
    CLAIM_TRANSITIONS,
    REPRODUCTION_TRANSITIONS,
    ClaimState,
    ReproductionState,
    next_state,
)
from specs.errors import IllegalTransition


@pytest.mark.parametrize(("old", "new"), list(itertools.product(ClaimState, ClaimState)))
def test_claims_move_as_the_table_says_and_no_other_way(old: ClaimState, new: ClaimState) -> None:
    if new in CLAIM_TRANSITIONS[old]:
        assert next_state(CLAIM_TRANSITIONS, old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"{old} does not lead to {new}"):
            next_state(CLAIM_TRANSITIONS, old, new)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(ReproductionState, ReproductionState)))
def test_reproductions_move_as_the_table_says_and_no_other_way(old: ReproductionState, new: ReproductionState) -> None:
    if new in REPRODUCTION_TRANSITIONS[old]:
        assert next_state(REPRODUCTION_TRANSITIONS, old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"{old} does not lead to {new}"):
            next_state(REPRODUCTION_TRANSITIONS, old, new)


def test_every_living_claim_can_reach_a_verdict_or_a_withdrawal() -> None:
    for start in (ClaimState.SUBMITTED, ClaimState.BLOCKED, ClaimState.PLANNED):
        reachable, frontier = set[ClaimState](), {start}
        while frontier:
            reachable |= frontier
            frontier = {new for old in frontier for new in CLAIM_TRANSITIONS[old]} - reachable
        assert {ClaimState.DECIDED, ClaimState.WITHDRAWN} <= reachable


def test_a_finished_reproduction_never_changes() -> None:
    for state in (ReproductionState.COMPLETED, ReproductionState.FAILED, ReproductionState.CANCELLED):
        assert not REPRODUCTION_TRANSITIONS[state]
