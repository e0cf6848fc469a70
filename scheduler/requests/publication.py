"""Somebody asks for the publication of a verified claim."""

from __future__ import annotations

from scheduler.database.session import Database
from scheduler.database.tables import Claim, Publication, now
from scheduler.record import add_event
from scheduler.state_machine import ClaimState
from specs.errors import InterventionError
from specs.judging.verdict import Outcome
from specs.policy.publish import PublishRules


def request_publication(database: Database, rules: PublishRules, claim_id: str, why: str, actor: str) -> list[str]:
    """Have a verified claim's badge written on the Hub in the farm's next round; what was done, line by line.

    One that could not be written is tried again at once, and one that policy left out at its time is queued.

    Raises:
        InterventionError: policy publishes nothing, there is no badge that counts, it is of a stale verdict and was not
            to be written so far, or it stands on the Hub already.
    """
    if rules.mode == "off":
        raise InterventionError("this farm's policy publishes nothing on the Hub (publish.mode is off)")
    with database.transaction() as session:
        claim = session.get_one(Claim, claim_id, with_for_update=True)
        verdict = claim.verdict
        if claim.state != ClaimState.DECIDED or verdict is None or verdict.outcome != Outcome.VERIFIED:
            raise InterventionError(f"claim {claim_id} is not verified: only a verified claim has a badge to publish")
        if verdict.badge is None:
            raise InterventionError(f"claim {claim_id} has no badge yet: it gets one soon after its verdict")
        if verdict.badge.revoked_at is not None:
            raise InterventionError(f"the badge of claim {claim_id} was revoked: {verdict.badge.revoked_reason}")
        row = session.get(Publication, claim_id)
        if row is not None and row.state != "pending":
            where = f" at {row.url}" if row.url else ""
            raise InterventionError(f"the publication of claim {claim_id} is {row.state}{where}: {row.reason}")
        if row is None and claim.stale_reason is not None:
            # The publisher would find the model's files changed, and that is final, even if they come back.
            raise InterventionError(
                f"the verdict of claim {claim_id} is stale ({claim.stale_reason}): have it verified again first"
            )
        if row is None:
            session.add(Publication(claim_id=claim_id))
        else:
            row.due_at = now()
        add_event(session, actor, "claim", claim_id, "publication_asked", why)
        how = "a pull request" if rules.mode == "pull_request" and claim.pull_request is None else "a comment"
    return [f"the badge of claim {claim_id} is written on the Hub as {how} in the farm's next round"]
