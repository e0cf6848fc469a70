"""Every change of state, in one place: checked against the state machine, dated, explained and recorded."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from scheduler.admission.budgets import settle
from scheduler.database.session import to_be_written
from scheduler.database.tables import Claim, Event, Reproduction, VerdictRow, now
from scheduler.state_machine import (
    CAME_TO_NOTHING,
    CLAIM_TRANSITIONS,
    REPRODUCTION_TRANSITIONS,
    ClaimState,
    ReproductionState,
    next_state,
)
from specs.judging.verdict import Verdict
from specs.text import clean

SCHEDULER = "scheduler"
"""The actor of what the farm does by itself."""

BY_AN_OPERATOR = ", who operates the farm"
"""What the reason of a cancelled claim says after the name of an operator who signed in with the Hub: it is of the form
of a maintainer's."""

MAX_REASON_CHARS = 8000
MAX_ACTOR_CHARS = 200

RECHECK = timedelta(minutes=10)
"""Between two looks whether what blocks a claim is gone, where a look costs no run."""


def add_event(session: Session, actor: str, subject: str, subject_id: str, what: str, why: str) -> None:
    """Add a line to the record; part of the caller's transaction."""
    # A worker's name may fill a column by itself.
    actor = actor[:MAX_ACTOR_CHARS]
    line = {"actor": actor, "subject": subject, "subject_id": subject_id, "what": what}
    to_be_written(session, Event).append({**line, "why": clean(why, MAX_REASON_CHARS)})


def move_claim(session: Session, claim: Claim, state: ClaimState, reason: str, actor: str = SCHEDULER) -> None:
    """Bring a claim into a state.

    Raises:
        IllegalTransition: the machine does not lead there.
    """
    claim.state = next_state(CLAIM_TRANSITIONS, ClaimState(claim.state), state)
    claim.reason, claim.since, claim.recheck_at = clean(reason, MAX_REASON_CHARS), now(), None
    claim.live = claim.state is not ClaimState.WITHDRAWN
    # What was said of its wait holds for that alone.
    claim.awaits_approval, claim.run_key = False, None
    add_event(session, actor, "claim", claim.claim_id, claim.state, reason)


def block_claim(session: Session, claim: Claim, reason: str, after: timedelta = RECHECK) -> None:
    """Have a claim wait for somebody; it is looked at again after a while, in case the obstacle is gone."""
    _block(session, claim, reason)
    claim.recheck_at = now() + after


def hold_claim(session: Session, claim: Claim, reason: str, until: datetime | None, run_key: str) -> None:
    """Have a claim wait for its budget until a time, or where that is None, for an operator's approval.

    `run_key` is of the reproduction that it needs: where another claim has that run, it waits no longer.
    """
    _block(session, claim, reason)
    claim.recheck_at, claim.awaits_approval, claim.run_key = until, until is None, run_key


def unblock_claim(session: Session, claim: Claim) -> None:
    """Have a claim planned like a new one, as what it waited for may have changed."""
    move_claim(session, claim, ClaimState.SUBMITTED, f"looks again whether it still {claim.reason}")


def _block(session: Session, claim: Claim, reason: str) -> None:
    if claim.state == ClaimState.BLOCKED:
        if claim.reason == clean(reason, MAX_REASON_CHARS):
            # It waits for the same since then. An event for each look would be hundreds a day, of each such claim.
            return
        unblock_claim(session, claim)
    move_claim(session, claim, ClaimState.BLOCKED, reason)


def move_reproduction(
    session: Session, reproduction: Reproduction, state: ReproductionState, reason: str, actor: str = SCHEDULER
) -> None:
    """Bring a reproduction into a state.

    Raises:
        IllegalTransition: the machine does not lead there.
    """
    before = ReproductionState(reproduction.state)
    reproduction.state = next_state(REPRODUCTION_TRANSITIONS, before, state)
    reproduction.reason, reproduction.since = clean(reason, MAX_REASON_CHARS), now()
    if before is ReproductionState.RUNNING:
        reproduction.waits_since = reproduction.since
    reproduction.set_aside = False
    settle(reproduction)
    if reproduction.state in CAME_TO_NOTHING:
        reproduction.joinable = False
    if reproduction.state is not ReproductionState.RUNNING:
        reproduction.worker = reproduction.lease_until = None
    add_event(session, actor, "reproduction", reproduction.reproduction_id, reproduction.state, reason)


def give_verdict(session: Session, claim: Claim, verdict: Verdict) -> None:
    """Decide a claim. The verdict's primary key is the claim, so a second one cannot be given."""
    if claim.state != ClaimState.PLANNED:
        # It had a run once that was cancelled, say; no run had a part in this.
        claim.reproduction_id = None
    row = {"claim_id": claim.claim_id, "outcome": verdict.outcome, "verdict": verdict.model_dump(mode="json")}
    to_be_written(session, VerdictRow).append({**row, "reproduction_id": claim.reproduction_id})
    move_claim(session, claim, ClaimState.DECIDED, f"{verdict.outcome}: {verdict.reason}")
