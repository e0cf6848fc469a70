"""An operator approves that a claim's reproduction may cost what it is taken to cost."""

from __future__ import annotations

from scheduler.database.session import Database
from scheduler.record import add_event, move_claim
from scheduler.requests.locking import find_claim
from scheduler.state_machine import ClaimState
from specs.errors import InterventionError


def approve(
    database: Database, claim_id: str, actor: str, *, over_budget: bool = False, why: str | None = None
) -> list[str]:
    """Approve a claim, by its id or the start of it, at what it was last taken to cost; what was done, line by line.

    `actor` stands in the record: `operator:NAME`, `token:NAME` or `hub:USER`.

    A claim that a budget holds back is planned again at once. The approval stays with the claim until it is withdrawn.

    Raises:
        InterventionError: there is no such claim, or nothing to approve.
    """
    with database.transaction() as session:
        claim = find_claim(session, claim_id)
        if claim.state not in (ClaimState.SUBMITTED, ClaimState.BLOCKED):
            raise InterventionError(f"claim {claim.claim_id} needs no approval: it is {claim.state}")
        if claim.gpu_seconds is None:
            raise InterventionError(
                f"claim {claim.claim_id} has no estimate yet that could be approved: {claim.reason}"
            )
        claim.approved_gpu_seconds = claim.gpu_seconds
        claim.approved_over_budget = over_budget
        cost = f"about {claim.gpu_seconds:,.0f} GPU-seconds"
        what = f"{cost}, over the budget of a day" if over_budget else cost
        what += f": {why}" if why is not None else ""
        add_event(session, actor, "claim", claim.claim_id, "approved", what)
        if claim.state == ClaimState.BLOCKED:
            move_claim(session, claim, ClaimState.SUBMITTED, f"approved by {actor}: {what}", actor)
        limits = "" if over_budget else "; the limits of a day still hold for it"
        return [f"approved: claim {claim.claim_id}, {cost}{limits}"]
