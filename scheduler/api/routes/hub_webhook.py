"""What the Hub announces (https://huggingface.co/docs/hub/webhooks): a change, so that the repo is looked at soon.

Nothing in an announcement is believed but which repo it is about; what has changed is read from the Hub.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException

from scheduler.api.dependencies import Source, TheSource
from scheduler.hub.answers import RepoType
from scheduler.watch.announcements import announce
from specs.api_v1.hub import Announced
from specs.ids import is_repo_id
from specs.text import clean

router = APIRouter(tags=["webhooks"])


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    action: Annotated[str, Field(max_length=50)]
    scope: Annotated[str, Field(max_length=50)]


class _Repo(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: Annotated[str, Field(max_length=20)]
    name: Annotated[str, Field(max_length=200)]


class _Announcement(BaseModel):
    """The part of the Hub's payload that is read."""

    model_config = ConfigDict(extra="ignore")

    event: _Event
    repo: _Repo


@router.post(
    "/hub/webhook",
    status_code=202,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def hub_webhook(
    request: Request, source: TheSource, x_webhook_secret: Annotated[str | None, Header(max_length=1000)] = None
) -> Announced:
    """Take an announcement of the Hub's: its repo is looked at within seconds."""
    secret = source.settings.hub_webhook_secret
    if secret is None:
        raise HTTPException(404, "this farm takes no webhooks: REPROFARM_HUB_WEBHOOK_SECRET is not set")
    # The bytes as they came: of a header they are taken for Latin-1, whatever they are.
    shown = (x_webhook_secret or "").encode("latin-1")
    if not hmac.compare_digest(shown, secret.get_secret_value().encode()):
        raise HTTPException(401, "X-Webhook-Secret is not the one that was agreed", {"www-authenticate": "Webhook"})
    found = _read(await request.body())
    if found.repo.type not in ("model", "dataset") or not is_repo_id(found.repo.name):
        return Announced(looked_at=None, why="neither a model nor a dataset")
    repo_type: Literal["model", "dataset"] = "model" if found.repo.type == "model" else "dataset"
    what = clean(f"{found.event.scope} {found.event.action}", 100)
    new = await run_in_threadpool(_put, source, repo_type, found.repo.name, what)
    return Announced(looked_at=found.repo.name, why="soon" if new else "announced a moment ago already")


def _read(body: bytes) -> _Announcement:
    try:
        return _Announcement.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, "not a webhook of the Hub's: it has no event and repo") from error


def _put(source: Source, repo_type: RepoType, repo_id: str, what: str) -> bool:
    try:
        with source.database.transaction() as session:
            return announce(session, repo_type, repo_id, what)
    except IntegrityError:
        # Another process was told of it at the same moment.
        return False
