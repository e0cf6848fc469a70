"""Organisations: who is in them, as `HfApi.list_organization_members` reads it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from deploy.localhub.api.request import Hub
from deploy.localhub.errors import NotFoundError

router = APIRouter()


@router.get("/api/organizations/{organization}/members")
def list_members(hub: Hub, organization: str) -> list[dict[str, Any]]:
    """The members, without their roles: the Hub tells those to the organisation's own alone."""
    members = sorted({record.user for record in hub.storage.tokens.records() if organization in record.orgs})
    if not members:
        raise NotFoundError("This organization does not exist")
    return [{"user": name, "fullname": name, "avatarUrl": "", "isPro": False, "type": "user"} for name in members]
