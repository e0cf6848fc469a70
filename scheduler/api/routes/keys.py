"""The public keys with which anybody checks a badge, and those that count no more."""

from __future__ import annotations

from fastapi import APIRouter

from scheduler.api.dependencies import Reading, TheSource
from scheduler.badges.keyring import listed_keys
from scheduler.badges.revoking import revoked_keys
from specs.api_v1.keys import Jwks, KeyRevocation
from specs.api_v1.views import Page

router = APIRouter(tags=["badges"])


@router.get("/.well-known/jwks.json")
def jwks(source: TheSource, session: Reading) -> Jwks:
    """The farm's public keys, those of earlier signatures included; a key that was revoked is not among them."""
    return Jwks.model_validate(listed_keys(source.settings, session))


@router.get("/v1/revocations/keys")
def list_revoked_keys(session: Reading) -> Page[KeyRevocation]:
    """Signing keys that were revoked, the latest first: all of them, in one part."""
    items = tuple(
        KeyRevocation(key_id=row.key_id, revoked_at=row.revoked_at, reason=row.revoked_reason)
        for row in revoked_keys(session)
    )
    return Page[KeyRevocation](items=items, next=None)
