"""Verified claims get their badge, and what policy wants is written on the Hub.

Each step is found by what is missing, so a step that was interrupted is done by the next round: a verified verdict
without a badge is signed, a badge without its publication is published.
"""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from scheduler.badges.attesting import attest
from scheduler.badges.signing import Signer
from scheduler.database.tables import Badge, Claim, Publication, VerdictRow, new_id, now
from scheduler.farm import Farm
from scheduler.machine import ClaimState
from scheduler.publish.wanted import is_wanted
from scheduler.record import SCHEDULER, add_event
from specs.verdict import Outcome

log = logging.getLogger(__name__)

SIGNED_AT_ONCE = 200


def sign_missing(farm: Farm) -> None:
    """Sign every verified verdict that has no badge yet."""
    with farm.database.reading() as session:
        claim_ids = session.scalars(
            select(VerdictRow.claim_id)
            .join(Claim, Claim.claim_id == VerdictRow.claim_id)
            .outerjoin(Badge, Badge.claim_id == VerdictRow.claim_id)
            .where(VerdictRow.outcome == Outcome.VERIFIED, Badge.claim_id.is_(None), Claim.state == ClaimState.DECIDED)
            .order_by(VerdictRow.decided_at)
            .limit(SIGNED_AT_ONCE)
        ).all()
    for claim_id in claim_ids:
        sign(farm, claim_id)


def sign(farm: Farm, claim_id: str) -> None:
    """Make the badge of one verified claim. Done once, however often it is asked for.

    Raises:
        KeyFileError: there is no usable key; the verdict stands, without a badge.
    """
    with farm.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        verdict, reproduction = claim.verdict, claim.reproduction
        if verdict is None or reproduction is None or verdict.badge is not None or claim.state != ClaimState.DECIDED:
            return
        badge_id, signed_at = new_id(), now()
        attestation = attest(farm.settings.public_url, badge_id, signed_at, claim, reproduction, verdict)
    signer = Signer.load(farm.settings.signing_key)
    token = signer.sign(attestation)
    try:
        with farm.database.transaction() as session:
            session.add(
                Badge(claim_id=claim_id, badge_id=badge_id, token=token, key_id=signer.key_id, signed_at=signed_at)
            )
            if is_wanted(session, farm.policy.publish, claim):
                session.add(Publication(claim_id=claim_id))
            add_event(session, SCHEDULER, "claim", claim_id, "badge", f"signed as {badge_id} by key {signer.key_id}")
    except IntegrityError:
        # Another signer was first; its badge is the one, and this token was shown to nobody.
        log.info("claim %s has its badge already", claim_id)
