"""Verified claims get their badge, and what policy wants is written on the Hub.

Each step is found by what is missing, so a step that was interrupted is done by the next round: a verified verdict
without a badge is signed, a badge without its publication is published.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

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

LATEST = timedelta(hours=1)
"""A badge is missing for so long only where the key is not usable, and then nothing is counted as looked at."""


_WITH_VERDICT = (
    select(Claim)
    .where(Claim.claim_id == bindparam("claim_id"))
    .options(joinedload(Claim.verdict).joinedload(VerdictRow.badge), joinedload(Claim.reproduction))
)


class Missing:
    """Finds verified verdicts without a badge: all there are until none is left, and then among the latest ones.

    There are more verdicts every day, and each was looked at when it was one of the latest. What comes to lack its
    badge later than that is found by the next process, which begins with all.
    """

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._none_left = False

    def sign(self) -> None:
        """Sign what is found."""
        self._none_left = sign_missing(self._farm, now() - LATEST if self._none_left else None)


def sign_missing(farm: Farm, since: datetime | None = None) -> bool:
    """Sign every verified verdict (of those given since then) that has no badge yet; whether none is left."""
    given = true() if since is None else VerdictRow.decided_at >= since
    with farm.database.reading() as session:
        claim_ids = session.scalars(
            select(VerdictRow.claim_id)
            .join(Claim, Claim.claim_id == VerdictRow.claim_id)
            .outerjoin(Badge, Badge.claim_id == VerdictRow.claim_id)
            .where(
                VerdictRow.outcome == Outcome.VERIFIED,
                Badge.claim_id.is_(None),
                Claim.state == ClaimState.DECIDED,
                given,
            )
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
            return False
    return len(claim_ids) < SIGNED_AT_ONCE


def sign(farm: Farm, claim_id: str) -> None:
    """Make the badge of one verified claim. Done once, however often it is asked for.

    Raises:
        KeyFileError: there is no usable key, or it is revoked; the verdict stands, without a badge.
    """
    with farm.database.reading() as session:
        claim = session.scalars(_WITH_VERDICT, {"claim_id": claim_id}).one()
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
