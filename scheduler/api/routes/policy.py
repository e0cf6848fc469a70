"""The rules by which this farm judges, for whoever wants to know what a badge of it rests on."""

from __future__ import annotations

from fastapi import APIRouter

from scheduler.api.dependencies import TheSource
from specs.api_v1.policy import PolicyView

router = APIRouter(prefix="/v1/policy", tags=["policy"])


@router.get("")
def show_policy(source: TheSource) -> PolicyView:
    """The operator's rules; nothing in them is a secret."""
    return PolicyView(sha256=source.policy.sha256, policy=source.policy)
