"""The entry of a claim that has its verdict becomes a new claim (docs/decisions/0014)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from scheduler.database.deterministic_ids import claim_id_of
from scheduler.database.tables import Claim
from scheduler.record import add_event, move_claim
from scheduler.state_machine import ClaimState

SAME_ENTRY = (
    *("slot", "model_id", "ref", "pull_request", "path", "entry", "commit", "submitter"),
    *("dataset_id", "dataset_revision", "task_id", "value", "notes", "source_url", "warnings"),
)
"""What a claim says and where it stands; the rest is what became of it."""


def submit_again(session: Session, claim: Claim, said: str, after: str, actor: str) -> Claim:
    """Withdraw a claim, which keeps its verdict and its badge, and submit its entry as a new one in the same slot."""
    anew = Claim(
        claim_id=claim_id_of(session, claim.slot, claim.value, claim.dataset_revision),
        state=ClaimState.SUBMITTED,
        reason=f"{said}, {after}",
        supersedes=claim.claim_id,
        **{name: getattr(claim, name) for name in SAME_ENTRY},
    )
    move_claim(session, claim, ClaimState.WITHDRAWN, f"{said}, as claim {anew.claim_id}", actor)
    claim.superseded_by = anew.claim_id
    # The old claim leaves its slot before the new one takes it.
    session.flush()
    session.add(anew)
    add_event(session, actor, "claim", anew.claim_id, anew.state, anew.reason)
    return anew
