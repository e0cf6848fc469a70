"""Badges that no longer count. The record keeps them; the list of revocations names them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from scheduler.database.tables import Badge, Claim, now
from scheduler.record import SCHEDULER, add_event
from specs.text import clean

MAX_REASON_CHARS = 1000


def revoke(session: Session, badge: Badge, why: str, actor: str) -> None:
    """Have a badge no longer count; once, and for good."""
    if badge.revoked_at is None:
        badge.revoked_at, badge.revoked_reason = now(), clean(why, MAX_REASON_CHARS)
        add_event(session, actor, "badge", badge.badge_id, "revoked", why)


def revoke_earlier(session: Session, claim: Claim) -> None:
    """Revoke what the entry of a claim that came out as a mismatch was given before (docs/decisions/0018).

    By its slot, not the chain of claims: an entry that was taken away and put back is the same one.
    """
    earlier = session.scalars(
        select(Badge)
        .join(Claim, Claim.claim_id == Badge.claim_id)
        .where(
            Claim.slot == claim.slot,
            Claim.claim_id != claim.claim_id,
            Claim.value == claim.value,
            Claim.dataset_revision.is_not_distinct_from(claim.dataset_revision),
            Badge.revoked_at.is_(None),
        )
        .with_for_update(of=Badge)
    ).all()
    for badge in earlier:
        why = f"the same entry was run again and not reproduced: claim {claim.claim_id}"
        revoke(session, badge, why, SCHEDULER)
