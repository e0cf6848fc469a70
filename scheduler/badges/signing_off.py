"""Verified claims get their badge, and what policy wants is written on the Hub.

Each step is found by what is missing, so a step that was interrupted is done by the next round: a verified verdict
without a badge is signed, a badge without its publication is published.
"""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from scheduler.badges.attesting import attest
from scheduler.badges.signing import KeyFileError, Signer
from scheduler.database.tables import Badge, Claim, Publication, RevokedKey, VerdictRow, now
from scheduler.farm import Farm
from scheduler.lasting_ids import badge_id_of
from scheduler.machine import ClaimState
from scheduler.publish.wanted import is_wanted
from scheduler.record import SCHEDULER, add_event
from specs.log_lines import about
from specs.spans import Place
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
        try:
            with about(claim_id=claim_id):
                sign(farm, claim_id)
        except KeyFileError as error:
            # So it is for all; what is signed already can be published meanwhile.
            log.error("%d verified claims wait for their badge: %s", len(claim_ids), error)
            return


def sign(farm: Farm, claim_id: str) -> None:
    """Make the badge of one verified claim. Done once, however often it is asked for.

    Raises:
        KeyFileError: there is no usable key, or it is revoked; the verdict stands, without a badge.
    """
    with farm.database.reading() as session:
        claim = session.get_one(Claim, claim_id)
        verdict, reproduction = claim.verdict, claim.reproduction
        if verdict is None or reproduction is None or verdict.badge is not None or claim.state != ClaimState.DECIDED:
            return
        signer = Signer.load(farm.settings.signing_key)
        if session.get(RevokedKey, signer.key_id) is not None:
            raise KeyFileError(
                f"key {signer.key_id} is revoked; `reprofarm keys rotate --at-once` puts another in place"
            )
        badge_id, signed_at = badge_id_of(claim_id), now()
        attestation = attest(farm.settings.public_url, badge_id, signed_at, claim, reproduction, verdict)
    root = Place.of_claim(claim_id)
    with farm.spans.live(Place(claim_id, "sign"), root, badge_id=badge_id, key_id=signer.key_id):
        _keep(
            farm,
            claim,
            Badge(
                claim_id=claim_id,
                badge_id=badge_id,
                token=signer.sign(attestation),
                key_id=signer.key_id,
                signed_at=signed_at,
            ),
        )


def _keep(farm: Farm, claim: Claim, badge: Badge) -> None:
    try:
        with farm.database.transaction() as session:
            session.add(badge)
            if is_wanted(session, farm.policy.publish, claim):
                session.add(Publication(claim_id=claim.claim_id))
            why = f"signed as {badge.badge_id} by key {badge.key_id}"
            add_event(session, SCHEDULER, "claim", claim.claim_id, "badge", why)
    except IntegrityError:
        # Another signer was first; its badge is the one, and this token was shown to nobody.
        log.info("claim %s has its badge already", claim.claim_id)
