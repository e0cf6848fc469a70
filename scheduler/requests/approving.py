"""An operator approves that a claim's reproduction may cost what it is taken to cost."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.id_prefixes import begins
from scheduler.database.session import Database
from scheduler.database.tables import Claim
from scheduler.record import add_event, move_claim
from scheduler.state_machine import ClaimState
from specs.api_v1.views import MIN_ID_PREFIX
from specs.errors import ApprovalError

MAX_LISTED = 5


@dataclass(frozen=True)
class Approval:
    """What was approved."""

    claim_id: str
    gpu_seconds: float
    over_budget: bool


def approve(
    database: Database, claim_id: str, actor: str, *, over_budget: bool = False, why: str | None = None
) -> Approval:
    """Approve a claim, by its id or the start of it, at what it was last taken to cost.

    `actor` stands in the record: `operator:NAME`, `token:NAME` or `hub:USER`.

    A claim that a budget holds back is planned again at once. The approval stays with the claim until it is withdrawn.

    Raises:
        ApprovalError: there is no such claim, or nothing to approve.
    """
    with database.transaction() as session:
        claim = session.get_one(Claim, _whole_id(session, claim_id), with_for_update=True)
        if claim.state not in (ClaimState.SUBMITTED, ClaimState.BLOCKED):
            raise ApprovalError(f"claim {claim.claim_id} needs no approval: it is {claim.state}")
        if claim.gpu_seconds is None:
            raise ApprovalError(f"claim {claim.claim_id} has no estimate yet that could be approved: {claim.reason}")
        claim.approved_gpu_seconds = claim.gpu_seconds
        claim.approved_over_budget = over_budget
        what = f"about {claim.gpu_seconds:,.0f} GPU-seconds{', over the budget of a day' if over_budget else ''}"
        what += f": {why}" if why is not None else ""
        add_event(session, actor, "claim", claim.claim_id, "approved", what)
        if claim.state == ClaimState.BLOCKED:
            move_claim(session, claim, ClaimState.SUBMITTED, f"approved by {actor}: {what}", actor)
        return Approval(claim.claim_id, claim.gpu_seconds, over_budget)


def _whole_id(session: Session, start: str) -> str:
    if len(start) < MIN_ID_PREFIX:
        raise ApprovalError(f"an id, or its first {MIN_ID_PREFIX} characters or more, not {start!r}")
    found = session.scalars(select(Claim.claim_id).where(begins(Claim.claim_id, start)).limit(MAX_LISTED)).all()
    if not found:
        raise ApprovalError(f"there is no claim {start}")
    if len(found) > 1:
        raise ApprovalError(f"several claims begin with {start}: {', '.join(sorted(found))}")
    return found[0]
