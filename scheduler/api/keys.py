"""The public keys with which anybody checks a badge."""

from __future__ import annotations

from fastapi import APIRouter

from scheduler.api.source import TheSource
from scheduler.badges.signing import public_jwks
from specs.api_v1 import Jwks

router = APIRouter(tags=["badges"])


@router.get("/.well-known/jwks.json")
def jwks(source: TheSource) -> Jwks:
    """The farm's public keys, those of earlier signatures included."""
    return Jwks.model_validate(public_jwks(source.settings))
