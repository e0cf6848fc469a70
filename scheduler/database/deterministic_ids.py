"""Deterministic ids: they follow from what they are of, so that a farm that lost its latest rows gives the same again.

What a restored database has forgotten, the Hub still shows: pull requests are found again by the claim's id, and a
badge is revoked by its own (docs/decisions/0024).
"""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scheduler.database.tables import Claim


def claim_id_of(session: Session, slot: str, value: float | None, dataset_revision: str | None) -> str:
    """Of the next claim in a slot that says this: the same for every farm that hears it said for the same time."""
    earlier = session.scalar(
        select(func.count()).where(
            Claim.slot == slot,
            Claim.value.is_not_distinct_from(value),
            Claim.dataset_revision.is_not_distinct_from(dataset_revision),
        )
    )
    return _digest("claim", slot, value, dataset_revision, earlier)


def badge_id_of(claim_id: str) -> str:
    """Of a claim's badge, of which there is one."""
    return _digest("badge", claim_id)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
