"""Routes of discussions and pull requests."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from deploy.localhub import conversations
from deploy.localhub.api.access import may_read_files, require_owner, require_writer
from deploy.localhub.api.answers import flag_of, json_with_etag, number_of
from deploy.localhub.api.request import Caller, Hub, JsonBody, Repo, text_of, the_hub, visible_repo
from deploy.localhub.content import DEFAULT_REVISION, resolve_commit
from deploy.localhub.discussions import ENDED, Discussion, Event, EventKind, Status
from deploy.localhub.errors import BadRequestError, NotFoundError
from deploy.localhub.hub import LocalHub
from deploy.localhub.json_values import hub_time

router = APIRouter()
PER_PAGE = 50
_BASE = "/api/{kind}/{namespace}/{name}/discussions"


def the_discussion(request: Request) -> Discussion:
    """The discussion that the address names."""
    number = request.path_params["num"]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFoundError(f"Discussion not found: {number[:40]}")
    return the_hub(request).storage.discussions.find(visible_repo(request).name, int(number))


Subject = Annotated[Discussion, Depends(the_discussion)]


@router.get(_BASE)
def list_discussions(request: Request, hub: Hub, repo: Repo) -> Response:
    """Discussions by type, status and author, the newest first, in pages counted from 0 (`p`)."""
    query = request.query_params
    kind, status, author = query.get("type", "all"), query.get("status", "all"), query.get("author")
    if kind not in ("all", "discussion", "pull_request") or status not in ("all", "open", "closed"):
        raise BadRequestError("type is discussion, pull_request or all; status is open, closed or all")
    found = [
        item
        for item in hub.storage.discussions.of_repo(repo.name)
        if (kind == "all" or item.is_pull_request == (kind == "pull_request"))
        and (status == "all" or (item.status in ENDED) == (status == "closed"))
        and (author is None or item.author == author)
    ]
    start = number_of(request, "p", 0) * PER_PAGE
    page = [_summary(item) for item in found[start : start + PER_PAGE]]
    return json_with_etag(request, {"discussions": page, "count": len(found), "start": start})


@router.post(_BASE)
def open_discussion(hub: Hub, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Open a discussion, or a draft pull request."""
    author = require_writer(caller)
    opened = hub.open_discussion(
        repo.name,
        text_of(body, "title"),
        text_of(body, "description", default=""),
        author,
        pull_request=body.get("pullRequest") is True,
    )
    return {"num": opened.num, "pullRequest": opened.is_pull_request}


@router.get(_BASE + "/{num}")
def discussion_details(request: Request, hub: Hub, repo: Repo, caller: Caller, subject: Subject) -> Response:
    """A discussion with its events; `diff` adds what a pull request changes."""
    answer = _summary(subject) | {"events": [_event(event) for event in hub.storage.discussions.events(subject)]}
    if subject.is_pull_request:
        answer |= _changes(hub, subject)
        if flag_of(request, "diff") and may_read_files(hub, caller, repo):
            git = hub.storage.git(subject.repo)
            main = resolve_commit(git, DEFAULT_REVISION)
            # A merged one is compared with what main was before.
            base = f"{subject.merge_commit}^1" if subject.merge_commit else main
            answer["diff"] = git.diff(base, resolve_commit(git, subject.ref))
    return json_with_etag(request, answer)


@router.post(_BASE + "/{num}/comment")
def comment(hub: Hub, subject: Subject, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Comment."""
    event = conversations.comment(hub, subject, require_writer(caller), text_of(body, "comment"))
    return {"newMessage": _event(event)}


@router.post(_BASE + "/{num}/comment/{event_id}/edit")
def edit_comment(hub: Hub, subject: Subject, caller: Caller, event_id: str, body: JsonBody) -> dict[str, Any]:
    """Replace the text of one's own comment."""
    author = require_writer(caller)
    return {"updatedComment": _event(conversations.edit(hub, subject, author, event_id, text_of(body, "content")))}


@router.post(_BASE + "/{num}/comment/{event_id}/hide")
def hide_comment(hub: Hub, subject: Subject, caller: Caller, event_id: str) -> dict[str, Any]:
    """Hide one's own comment for good."""
    return {"updatedComment": _event(conversations.edit(hub, subject, require_writer(caller), event_id, None))}


@router.post(_BASE + "/{num}/title")
def rename(hub: Hub, subject: Subject, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Give it another title."""
    author = _author_or_owner(subject, repo, caller)
    return {"newTitle": _event(conversations.rename(hub, subject, author, text_of(body, "title")))}


@router.post(_BASE + "/{num}/status")
def change_status(hub: Hub, subject: Subject, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, Any]:
    """Close it, or open it (again)."""
    author = _author_or_owner(subject, repo, caller)
    wanted = text_of(body, "status")
    if wanted not in (Status.OPEN, Status.CLOSED):
        raise BadRequestError("status is open or closed")
    text = text_of(body, "comment", default="")
    return {"newStatus": _event(conversations.change_status(hub, subject, author, Status(wanted), text))}


@router.post(_BASE + "/{num}/merge")
def merge(hub: Hub, subject: Subject, repo: Repo, caller: Caller, body: JsonBody) -> dict[str, str]:
    """Merge a pull request into main."""
    author = require_owner(caller, repo)
    return {"mergeCommitId": conversations.merge(hub, subject, author, text_of(body, "comment", default=""))}


def _author_or_owner(subject: Discussion, repo: Repo, caller: Caller) -> str:
    author = require_writer(caller)
    return author if author == subject.author else require_owner(caller, repo)


def _summary(discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "status": discussion.status.value,
        "isPullRequest": discussion.is_pull_request,
        "author": {"name": discussion.author, "type": "user"},
        "createdAt": hub_time(discussion.created_at),
        "repo": {"name": discussion.repo.id, "type": discussion.repo.type.value},
    }


def _changes(hub: LocalHub, discussion: Discussion) -> dict[str, Any]:
    changes = {"base": f"refs/heads/{DEFAULT_REVISION}"}
    if discussion.merge_commit:
        changes["mergeCommitId"] = discussion.merge_commit
    return {"changes": changes, "filesWithConflicts": conversations.conflicting_files(hub, discussion)}


def _event(event: Event) -> dict[str, Any]:
    data = event.data
    if event.kind is EventKind.COMMENT:
        latest = {"raw": data["text"], "updatedAt": hub_time(event.created_at), "author": {"name": event.author}}
        hidden = data.get("hidden", False)
        data = {"edited": data.get("edited", False), "hidden": hidden, "latest": latest, "history": []}
    return {
        "id": event.event_id,
        "type": event.kind.value,
        "createdAt": hub_time(event.created_at),
        "author": {"name": event.author, "type": "user"},
        "data": data,
    }
