"""Badges with their proof, and those that no longer count."""

from __future__ import annotations

from typing import Annotated

import jwt
from fastapi import APIRouter, Path
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, defer

from scheduler.api import pages
from scheduler.api.dependencies import Reading
from scheduler.api.ids import IdOrStart, whole_id
from scheduler.api.problems import NotFound
from scheduler.badges.revoking import revoked_keys
from scheduler.database.tables import Badge, Claim, VerdictRow
from specs.api_v1.badges import BadgeView, Revocation, Revocations
from specs.attestation import Attestation

router = APIRouter(prefix="/v1", tags=["badges"])


@router.get("/badges/{badge_id}")
def show_badge(session: Reading, badge_id: Annotated[str, Path(max_length=32)]) -> BadgeView:
    """One badge, by the `jti` of its token."""
    badge = session.scalar(select(Badge).where(Badge.badge_id == badge_id))
    if badge is None:
        raise NotFound("there is no such badge")
    return _view(session, badge)


@router.get("/claims/{claim_id}/badge")
def badge_of_claim(session: Reading, claim_id: IdOrStart) -> BadgeView:
    """The badge of a verified claim."""
    found = whole_id(session, Claim.claim_id, claim_id, "claim")
    badge = session.get(Badge, found)
    if badge is None:
        raise NotFound(f"claim {found} has no badge: only a verified claim gets one, soon after its verdict")
    return _view(session, badge)


@router.get("/revocations")
def list_revocations(session: Reading, cursor: pages.PageCursor = None, limit: pages.Limit = 200) -> Revocations:
    """Badges that no longer count, newest revocation first, and the keys that do not."""
    conditions: list[ColumnElement[bool]] = [Badge.revoked_at.is_not(None)]
    if cursor is not None:
        conditions.append(pages.after(cursor, Badge.revoked_at, Badge.badge_id))
    rows = session.scalars(
        select(Badge).where(*conditions).order_by(Badge.revoked_at.desc(), Badge.badge_id.desc()).limit(limit + 1)
    ).all()
    found = [revocation for row in rows if (revocation := _revocation(row)) is not None]
    part = pages.page(
        Revocations,
        found,
        limit,
        lambda revocation: revocation,
        lambda revocation: pages.encode(revocation.revoked_at, revocation.badge_id),
    )
    keys = tuple(row.key_id for row in revoked_keys(session))
    return Revocations(items=part.items, next=part.next, revoked_keys=keys)


def _view(session: Session, badge: Badge) -> BadgeView:
    claim = session.get_one(Claim, badge.claim_id, options=[defer(Claim.linked_log)])
    stale_reason = _stale_reason(session, claim)
    return BadgeView(
        id=badge.badge_id,
        signed_at=badge.signed_at,
        revoked=badge.revoked_at is not None,
        claim_id=badge.claim_id,
        key_id=badge.key_id,
        token=badge.token,
        payload=_payload(badge.token),
        revocation=_revocation(badge),
        stale=stale_reason is not None,
        stale_reason=stale_reason,
        superseded_by=claim.superseded_by,
    )


def _stale_reason(session: Session, claim: Claim) -> str | None:
    """Why a badge does not stand for its entry as it is now; None where it does."""
    entry = claim
    if claim.superseded_by is not None:
        later = session.get(VerdictRow, claim.superseded_by)
        if later is not None:
            return f"claim {claim.superseded_by} is the same entry, verified again since: {later.outcome}"
        entry = session.get_one(Claim, claim.superseded_by, options=[defer(Claim.linked_log)])
    if not entry.live:
        return f"the claim was withdrawn: {entry.reason}"
    return claim.stale_reason


def _payload(token: str) -> Attestation:
    # Our own record of what we signed; whoever wants proof checks the token with the public keys.
    return Attestation.model_validate(jwt.decode(token, options={"verify_signature": False}))


def _revocation(badge: Badge) -> Revocation | None:
    if badge.revoked_at is None:
        return None
    return Revocation(
        badge_id=badge.badge_id,
        claim_id=badge.claim_id,
        revoked_at=badge.revoked_at,
        reason=badge.revoked_reason or "",
    )
