"""Badges are issued for verified claims, and what policy wants is written on the Hub.

Each step is found by what is missing, so a step that was interrupted is done by the next round: a verified verdict
without a badge is signed, a badge without its publication is published.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import bindparam, insert, literal, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import defer, joinedload, selectinload

from scheduler.badges.attesting import attest
from scheduler.badges.publications import is_wanted
from scheduler.badges.revoking import revoke_if_outdone, revoke_outdone, trouble_with_key
from scheduler.badges.signing import KeyFileError, Signer
from scheduler.database.deterministic_ids import badge_id_of
from scheduler.database.tables import Badge, Claim, Publication, Reproduction, VerdictRow, now
from scheduler.farm import Farm
from scheduler.record import SCHEDULER, add_event
from scheduler.state_machine import ClaimState
from specs.errors import TokenError
from specs.judging.verdict import Outcome
from specs.processes.log_lines import about
from specs.processes.spans import Place

log = logging.getLogger(__name__)

_Place: TypeAlias = tuple[datetime, str]
"""Of a verdict: when it was given, and its claim's id."""

SIGNED_AT_ONCE = 1000
"""Badges of one round, give or take as many: some seconds of work."""

KEPT_TOGETHER = 50
"""Badges of one transaction: most of the cost of a badge by itself is the commit."""

LATE = timedelta(hours=1)
"""A verdict's time is taken before its transaction is committed, by the clock of whoever writes it: so far back of the
last look behind which nothing was left the next one begins."""

TRIED_AGAIN = timedelta(minutes=10)
"""So long a verdict that is no proof waits until it is tried, and told of in the log, once more."""

UNDER_WAY = timedelta(minutes=2)
"""A mismatch that was being decided when a badge was kept, neither seeing the other, is decided by then."""

LEFT_BEHIND = timedelta(days=1)
"""How far back a starting process looks for badges that a mismatch overtook while they were stored. Only a process
killed at that moment leaves one, and the next is there long before a day is over."""

_WITH_VERDICT = (
    select(Claim)
    .where(Claim.claim_id.in_(bindparam("claim_ids", expanding=True)))
    # In one order, as everybody who writes several rows.
    .order_by(Claim.claim_id)
    .options(
        joinedload(Claim.verdict).joinedload(VerdictRow.badge),
        # By a question of its own: claims share it, and its measurement may be long.
        selectinload(Claim.reproduction).options(defer(Reproduction.settings), defer(Reproduction.stopping)),
        defer(Claim.foreseen),
        defer(Claim.linked_log),
        defer(Claim.warnings),
    )
)

_DECIDED = (
    select(Claim.claim_id)
    .where(Claim.claim_id.in_(bindparam("claim_ids", expanding=True)), Claim.state == ClaimState.DECIDED)
    .order_by(Claim.claim_id)
    .with_for_update()
)


class Missing:
    """Finds verified verdicts without a badge: all there are until none is left, and then among those given since.

    There are more verdicts every day, and each was looked at when it was one of the latest. While some are no proof,
    it begins with all again now and then. What comes to lack its badge later than that is found by the next process.
    """

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._begin(now())
        self._settled_until = now() - LEFT_BEHIND

    def _begin(self, at: datetime) -> None:
        self._begun_at = at
        self._none_left_at: datetime | None = None
        self._no_proof: set[str] = set()

    def sign(self) -> None:
        """Sign what is found, and revoke what was outdone at the same moment, neither having seen the other."""
        at = now()
        if self._no_proof and at - self._begun_at >= TRIED_AGAIN:
            self._begin(at)
        since = self._none_left_at - LATE if self._none_left_at is not None else None
        if sign_missing(self._farm, since, self._no_proof):
            self._none_left_at = at
        revoke_outdone(self._farm.database, self._settled_until)
        self._settled_until = at - UNDER_WAY


def sign_missing(farm: Farm, since: datetime | None = None, no_proof: set[str] | None = None) -> bool:
    """Sign verified verdicts (of those given since then) without a badge, the oldest first; whether none is left.

    One that is no proof keeps no later one from it, and joins `no_proof`; what is in there is passed over.
    """
    no_proof = set() if no_proof is None else no_proof
    signed, reached = 0, None
    while signed < SIGNED_AT_ONCE:
        rows = _without_badge(farm, since, reached)
        due = [claim_id for _, claim_id in rows if claim_id not in no_proof]
        for first in range(0, len(due), KEPT_TOGETHER):
            claim_ids = due[first : first + KEPT_TOGETHER]
            try:
                refused = sign(farm, claim_ids)
            except KeyFileError as error:
                # So it is for all; what is signed already can be published meanwhile.
                log.error("%d verified claims wait for their badge: %s", len(due) - first, error)
                return False
            no_proof |= refused
            signed += len(claim_ids) - len(refused)
        if len(rows) < SIGNED_AT_ONCE:
            return True
        reached = rows[-1]
    return False


def _without_badge(farm: Farm, since: datetime | None, reached: _Place | None) -> Sequence[_Place]:
    """The next verified verdicts without one, in the order of their times."""
    when, claim_id = VerdictRow.decided_at, VerdictRow.claim_id
    query = (
        select(when, claim_id)
        .join(Claim, Claim.claim_id == claim_id)
        .outerjoin(Badge, Badge.claim_id == claim_id)
        .where(VerdictRow.outcome == Outcome.VERIFIED, Badge.claim_id.is_(None), Claim.state == ClaimState.DECIDED)
        .order_by(when, claim_id)
        .limit(SIGNED_AT_ONCE)
    )
    if since is not None:
        query = query.where(when >= since)
    if reached is not None:
        query = query.where(tuple_(when, claim_id) > tuple_(*map(literal, reached, (when.type, claim_id.type))))
    with farm.database.reading() as session:
        return [(at, found) for at, found in session.execute(query)]


def sign(farm: Farm, claim_ids: Sequence[str]) -> set[str]:
    """Make the badges of verified claims. Done once, however often it is asked for.

    Returns the ids of claims that got no badge because their verdict is no proof.

    Raises:
        KeyFileError: there is no usable key, or it is revoked; the verdicts stand, without their badges.
    """
    with farm.database.reading() as session:
        due = [each for each in session.scalars(_WITH_VERDICT, {"claim_ids": claim_ids}) if _lacks_badge(each)]
        if not due:
            return set()
        signer = Signer.load(farm.settings.signing_key)
        if trouble := trouble_with_key(session, signer.key_id):
            raise KeyFileError(trouble)
    signed = [_Signed(claim, badge) for claim in due if (badge := _badge(farm, signer, claim)) is not None]
    if signed:
        _keep(farm, signed)
    return {each.claim_id for each in due} - {each.claim.claim_id for each in signed}


@dataclass(frozen=True)
class _Signed:
    claim: Claim
    badge: dict[str, Any]
    """Columns of `Badge`: nobody here has a use for an object of them."""


def _lacks_badge(claim: Claim) -> bool:
    return claim.state == ClaimState.DECIDED and claim.verdict is not None and claim.verdict.badge is None


def _badge(farm: Farm, signer: Signer, claim: Claim) -> dict[str, Any] | None:
    """The badge of a decided claim; None where its verdict is no proof, which holds up nobody else's badge."""
    badge_id, signed_at = badge_id_of(claim.claim_id), now()
    place, root = Place(claim.claim_id, "sign"), Place.of_claim(claim.claim_id)
    with about(claim_id=claim.claim_id), farm.spans.live(place, root, badge_id=badge_id, key_id=signer.key_id):
        try:
            token = signer.sign(attest(farm.settings.public_url, badge_id, signed_at, claim))
        except (TokenError, ValueError) as error:
            log.error("no badge: %s", error)
            return None
    stated = {"claim_id": claim.claim_id, "badge_id": badge_id, "token": token}
    return {**stated, "key_id": signer.key_id, "signed_at": signed_at}


def _keep(farm: Farm, signed: Sequence[_Signed]) -> None:
    """Keep badges, in one transaction; where another signer was first with one of them, in one for each."""
    try:
        with farm.database.transaction() as session:
            # One that came to be another claim is not to have a badge that nobody revokes: that other one may be a
            # mismatch by now, and looked for badges before this one was kept.
            still = set(session.scalars(_DECIDED, {"claim_ids": [each.claim.claim_id for each in signed]}))
            signed = [each for each in signed if each.claim.claim_id in still]
            if not signed:
                return
            wanted = [each.claim.claim_id for each in signed if is_wanted(session, farm.policy.publish, each.claim)]
            session.execute(insert(Badge), [each.badge for each in signed])
            session.add_all(Publication(claim_id=claim_id) for claim_id in wanted)
            for each in signed:
                why = f"signed as {each.badge['badge_id']} by key {each.badge['key_id']}"
                add_event(session, SCHEDULER, "claim", each.claim.claim_id, "badge", why)
            # Or it might be published before the round is over, and nobody would close that pull request.
            revoke_if_outdone(session, [each.claim.claim_id for each in signed])
    except IntegrityError:
        if len(signed) == 1:
            # Its badge is the one, and this token was shown to nobody.
            log.info("claim %s has its badge already", signed[0].claim.claim_id)
            return
        for each in signed:
            _keep(farm, [each])
