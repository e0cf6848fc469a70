"""Routes that make and remove branches and tags."""

from __future__ import annotations

from fastapi import APIRouter, Request

from deploy.localhub.api.access import require_owner
from deploy.localhub.api.request import Caller, Hub, JsonBody, Repo, path_value, text_of
from deploy.localhub.commits import CommitText
from deploy.localhub.content import DEFAULT_REVISION, resolve_commit
from deploy.localhub.errors import BadRequestError, ConflictError, RevisionNotFoundError
from deploy.localhub.git import MovedError
from deploy.localhub.names import is_ref_name

router = APIRouter()


@router.post("/api/{kind}/{namespace}/{name}/branch/{branch}")
def create_branch(request: Request, hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, str]:
    """Make a branch at a revision (`main` if none is given)."""
    require_owner(caller, repo)
    branch = _checked(path_value(request, "branch"))
    git = hub.storage.git(repo.name)
    commit = resolve_commit(git, text_of(body, "startingPoint", default=DEFAULT_REVISION))
    try:
        git.move_ref(f"refs/heads/{branch}", commit, None)
    except MovedError as error:
        raise ConflictError(f"The branch {branch} exists already") from error
    return {"name": branch, "commit": commit}


@router.delete("/api/{kind}/{namespace}/{name}/branch/{branch}")
def delete_branch(request: Request, hub: Hub, repo: Repo, caller: Caller) -> dict[str, bool]:
    """Remove a branch other than `main`."""
    require_owner(caller, repo)
    branch = _checked(path_value(request, "branch"))
    if branch == DEFAULT_REVISION:
        raise BadRequestError(f"The branch {DEFAULT_REVISION} cannot be removed")
    _delete(hub, repo, f"refs/heads/{branch}", branch)
    return {"deleted": True}


@router.post("/api/{kind}/{namespace}/{name}/tag/{revision}")
def create_tag(request: Request, hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, str]:
    """Tag a revision, with a message or without."""
    author = require_owner(caller, repo)
    tag = _checked(text_of(body, "tag"))
    git = hub.storage.git(repo.name)
    commit = resolve_commit(git, path_value(request, "revision"))
    message = text_of(body, "message", default="")
    target = git.write_tag(tag, commit, CommitText(message, author).signature()) if message.strip() else commit
    try:
        git.move_ref(f"refs/tags/{tag}", target, None)
    except MovedError as error:
        raise ConflictError(f"The tag {tag} exists already") from error
    return {"name": tag, "commit": commit}


@router.delete("/api/{kind}/{namespace}/{name}/tag/{tag}")
def delete_tag(request: Request, hub: Hub, repo: Repo, caller: Caller) -> dict[str, bool]:
    """Remove a tag."""
    require_owner(caller, repo)
    tag = _checked(path_value(request, "tag"))
    _delete(hub, repo, f"refs/tags/{tag}", tag)
    return {"deleted": True}


def _checked(name: str) -> str:
    if not is_ref_name(name) or name.startswith("refs/"):
        raise BadRequestError("Invalid reference for a branch or tag")
    return name


def _delete(hub: Hub, repo: Repo, ref: str, name: str) -> None:
    git = hub.storage.git(repo.name)
    if git.read_ref(ref) is None:
        raise RevisionNotFoundError(name)
    git.delete_ref(ref)
