"""The payloads of webhooks: what happened to which repo or discussion."""

from __future__ import annotations

from typing import Any

from deploy.localhub.commits import Written
from deploy.localhub.content import DEFAULT_REVISION
from deploy.localhub.discussions import Discussion, Event
from deploy.localhub.names import RepoName
from deploy.localhub.storage import Storage


def repo_part(storage: Storage, repo: RepoName, endpoint: str) -> dict[str, Any]:
    """The `repo` of a payload."""
    return {
        "type": repo.type.value,
        "name": repo.id,
        "id": f"{repo.type}:{repo.id}",
        "private": storage.registry.find(repo).private,
        "url": {"web": f"{endpoint}/{repo.web_path}", "api": f"{endpoint}/api/{repo.type}s/{repo.id}"},
        "owner": {"id": repo.namespace},
        "headSha": storage.git(repo).read_ref(f"refs/heads/{DEFAULT_REVISION}"),
    }


def repo_event(storage: Storage, repo: RepoName, endpoint: str, action: str) -> dict[str, Any]:
    """A repo was created, deleted, moved, or its settings changed."""
    scope = "repo" if action in ("create", "delete", "move") else "repo.config"
    return {"event": {"action": action, "scope": scope}, "repo": repo_part(storage, repo, endpoint)}


def content_event(storage: Storage, repo: RepoName, endpoint: str, written: Written) -> dict[str, Any]:
    """A branch or pull request of a repo has a new commit."""
    return {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": repo_part(storage, repo, endpoint),
        "updatedRefs": [{"ref": written.ref, "oldSha": written.old, "newSha": written.new}],
    }


def discussion_event(
    storage: Storage, discussion: Discussion, endpoint: str, action: str, comment: Event | None = None
) -> dict[str, Any]:
    """A discussion was opened or changed, or somebody commented on it."""
    repo = discussion.repo
    web = f"{endpoint}/{repo.web_path}/discussions/{discussion.num}"
    part: dict[str, Any] = {
        "id": f"{repo.type}:{repo.id}:{discussion.num}",
        "num": discussion.num,
        "title": discussion.title,
        "status": discussion.status.value,
        "author": {"id": discussion.author},
        "isPullRequest": discussion.is_pull_request,
        "url": {"web": web, "api": f"{endpoint}/api/{repo.type}s/{repo.id}/discussions/{discussion.num}"},
    }
    if discussion.is_pull_request:
        part["changes"] = {"base": f"refs/heads/{DEFAULT_REVISION}"}
        if discussion.merge_commit:
            part["changes"]["mergeCommitId"] = discussion.merge_commit
    payload: dict[str, Any] = {
        "event": {"action": action, "scope": "discussion.comment" if comment else "discussion"},
        # Without its head, which the Hub sends with changes of the repo itself alone.
        "repo": {key: value for key, value in repo_part(storage, repo, endpoint).items() if key != "headSha"},
        "discussion": part,
    }
    if comment:
        payload["comment"] = {
            "id": comment.event_id,
            "author": {"id": comment.author},
            "content": comment.data["text"],
            "hidden": False,
            "url": {"web": f"{web}#{comment.event_id}"},
        }
    return payload
