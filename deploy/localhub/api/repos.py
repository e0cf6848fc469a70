"""Routes that make, change and remove repos, and let people into gated ones."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from deploy.localhub.api.access import require_owner, require_writer
from deploy.localhub.api.request import Caller, Hub, JsonBody, Repo, endpoint_of, text_of
from deploy.localhub.cards import card_errors
from deploy.localhub.errors import BadRequestError, ConflictError, ForbiddenError, RepoNotFoundError
from deploy.localhub.names import RepoName, RepoType
from deploy.localhub.tokens import Visitor

router = APIRouter()


@router.post("/api/repos/create")
def create_repo(request: Request, hub: Hub, caller: Caller, body: JsonBody) -> Response:
    """Make a repo in the caller's namespace or that of an organisation they are in."""
    repo = _named(body, caller)
    private = body.get("visibility") == "private" or body.get("private") is True
    known = {"id": repo.id, "name": repo.id, "url": f"{endpoint_of(request)}/{repo.web_path}"}
    try:
        hub.create_repo(repo, private=private)
    except ConflictError as error:
        # The client reads the address from this answer too, when the repo may exist.
        return JSONResponse({"error": error.message, **known}, 409, {"X-Error-Message": error.message})
    return JSONResponse(known)


@router.delete("/api/repos/delete")
def delete_repo(hub: Hub, caller: Caller, body: JsonBody) -> dict[str, bool]:
    """Remove a repo for good."""
    repo = _named(body, caller)
    hub.delete_repo(repo)
    return {"deleted": True}


@router.post("/api/repos/move")
def move_repo(hub: Hub, caller: Caller, body: JsonBody) -> Response:
    """Rename a repo, or hand it over to an organisation that the caller is in."""
    require_writer(caller)
    repo_type = text_of(body, "type", default="model")
    if repo_type not in list(RepoType):
        raise BadRequestError(f"This Hub keeps models and datasets, no {repo_type[:40]}")
    repo, to = (RepoName(RepoType(repo_type), text_of(body, key)) for key in ("fromRepo", "toRepo"))
    require_owner(caller, hub.storage.registry.find(repo))
    if not caller.belongs_to(to.namespace):
        raise ForbiddenError(f'You don\'t have the rights to change anything under the namespace "{to.namespace}"')
    hub.move_repo(repo, to)
    return Response()


def _named(body: dict[str, Any], caller: Visitor) -> RepoName:
    user = require_writer(caller)
    namespace = text_of(body, "organization", default=user)
    repo_type = text_of(body, "type", default="model")
    if repo_type not in list(RepoType):
        raise BadRequestError(f"This Hub keeps models and datasets, no {repo_type[:40]}")
    if not caller.belongs_to(namespace):
        raise ForbiddenError(f'You don\'t have the rights to change anything under the namespace "{namespace[:100]}"')
    try:
        return RepoName(RepoType(repo_type), f"{namespace}/{text_of(body, 'name')}")
    except RepoNotFoundError as error:
        raise BadRequestError("Not a name that a repo can have") from error


@router.put("/api/{kind}/{namespace}/{name}/settings")
def change_settings(hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Gate a repo or open it; show it to everybody or not."""
    require_owner(caller, repo)
    if "gated" in body:
        hub.set_gated(repo.name, body["gated"] or None)
    visibility = body.get("visibility")
    if visibility is not None:
        if visibility not in ("public", "private"):
            raise BadRequestError("visibility is public or private")
        hub.set_private(repo.name, visibility == "private")
    settings = hub.storage.registry.find(repo.name)
    return {"gated": settings.gated or False, "private": settings.private}


@router.post("/api/{kind}/{namespace}/{name}/user-access-request/grant")
def grant_access(hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Let a user read the files of a gated repo."""
    require_owner(caller, repo)
    user = text_of(body, "user")
    if repo.gated is None:
        raise BadRequestError("This repo is not gated")
    hub.grant(repo.name, user)
    return {"user": user, "status": "accepted"}


@router.post("/api/validate-yaml")
def validate_yaml(body: JsonBody) -> Response:
    """Whether the metadata at the head of a README can be read; the client asks before each upload of one."""
    errors = card_errors(text_of(body, "content").encode())
    payload = {"errors": [{"message": message} for message in errors], "warnings": []}
    return JSONResponse(payload, 400 if errors else 200)
