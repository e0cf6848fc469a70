"""Routes that describe repos: lists, info, trees, refs, history, leaderboard."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from deploy.localhub.api.access import require_files, require_owner
from deploy.localhub.api.answers import MAX_PAGE, flag_of, json_with_etag, link_to_next, number_of, paged
from deploy.localhub.api.request import Caller, Hub, Repo, path_value, small_body
from deploy.localhub.content import DEFAULT_REVISION, Entry
from deploy.localhub.errors import (
    BadRequestError,
    EntryNotFoundError,
    NotFoundError,
    RevisionNotFoundError,
    UnauthorizedError,
)
from deploy.localhub.git import CommitRecord
from deploy.localhub.info import RepoView, full_info, list_item, properties_of
from deploy.localhub.json_values import hub_time
from deploy.localhub.leaderboard import leaderboard
from deploy.localhub.names import RepoType
from deploy.localhub.registry import RepoSettings

router = APIRouter()
MAX_PATHS = 1000
COMMITS_PER_PAGE = 50
"""Where nobody asks for another number."""

MAX_COMMITS_PER_PAGE = 1000
_SORTS = {"lastModified", "createdAt", "downloads", "likes", "trendingScore"}


@router.get("/api/whoami-v2")
def whoami(caller: Caller) -> dict[str, Any]:
    """Who the token belongs to."""
    record = caller.record
    if record is None:
        raise UnauthorizedError("Invalid username or password.")
    orgs = [{"type": "org", "name": org, "fullname": org, "roleInOrg": record.role} for org in record.orgs]
    token = {"displayName": "local", "role": record.role, "createdAt": hub_time(record.created_at)}
    return {
        "type": "user",
        "id": record.user,
        "name": record.user,
        "fullname": record.user,
        "isPro": False,
        "orgs": orgs,
        "auth": {"type": "access_token", "accessToken": token},
    }


@router.get("/api/models")
def list_models(request: Request, hub: Hub, caller: Caller) -> Response:
    """Models by author, tag, name."""
    return _list(request, hub, caller, RepoType.MODEL)


@router.get("/api/datasets")
def list_datasets(request: Request, hub: Hub, caller: Caller) -> Response:
    """Datasets by author, tag (`benchmark:official`), name."""
    return _list(request, hub, caller, RepoType.DATASET)


def _list(request: Request, hub: Hub, caller: Caller, repo_type: RepoType) -> Response:
    query = request.query_params
    expand = [*query.getlist("expand"), *query.getlist("expand[]")]
    views = []
    for settings in hub.storage.registry.all(repo_type):
        if (settings.private and not caller.owns(settings.name)) or not _has_name(request, settings):
            continue
        try:
            view = RepoView(hub.storage, settings, hub.storage.snapshot(settings.name))
        except RevisionNotFoundError:
            continue  # deleted since the list was read
        if all(tag in view.tags for wanted in query.getlist("filter") for tag in wanted.split(",")):
            views.append(view)
    sort = query.get("sort")
    if sort is not None:
        if sort not in _SORTS:
            raise BadRequestError(f"sort is one of {', '.join(sorted(_SORTS))}")
        views.sort(key=lambda view: properties_of(view, [sort])[sort], reverse=query.get("direction", "-1") == "-1")

    def render(view: RepoView) -> dict[str, Any]:
        return properties_of(view, expand) if expand else list_item(view, full=flag_of(request, "full"))

    return paged(request, views, render, page_size=number_of(request, "limit", MAX_PAGE))


def _has_name(request: Request, settings: RepoSettings) -> bool:
    query = request.query_params
    repo = settings.name
    if "author" in query and query["author"] != repo.namespace:
        return False
    if "gated" in query and flag_of(request, "gated") != (settings.gated is not None):
        return False
    return all(part.lower() in repo.id.lower() for part in query.getlist("search"))


@router.get("/api/{kind}/{namespace}/{name}")
@router.get("/api/{kind}/{namespace}/{name}/revision/{revision}")
def repo_info(request: Request, hub: Hub, repo: Repo) -> Response:
    """All about one repo, at a revision, or the properties asked for."""
    revision = path_value(request, "revision") if "revision" in request.path_params else DEFAULT_REVISION
    view = RepoView(hub.storage, repo, hub.storage.snapshot(repo.name, revision))
    expand = [*request.query_params.getlist("expand"), *request.query_params.getlist("expand[]")]
    files_metadata = flag_of(request, "blobs")
    payload = properties_of(view, expand) if expand else full_info(view, files_metadata=files_metadata)
    return json_with_etag(request, payload, {"X-Repo-Commit": view.snapshot.commit})


@router.get("/api/{kind}/{namespace}/{name}/leaderboard")
def dataset_leaderboard(request: Request, hub: Hub, repo: Repo) -> Response:
    """The scores submitted on a benchmark; `base_model=false` counts derived models too."""
    if not repo.is_benchmark:
        raise NotFoundError("not found")
    base_models_only = request.query_params.get("base_model", "true").lower() != "false"
    return json_with_etag(request, leaderboard(hub.storage, repo.name, base_models_only=base_models_only))


@router.get("/api/{kind}/{namespace}/{name}/tree/{revision}")
@router.get("/api/{kind}/{namespace}/{name}/tree/{revision}/{path:path}")
def tree(request: Request, hub: Hub, repo: Repo) -> Response:
    """What is in a folder of a repo; `recursive` goes deeper, `expand` adds each entry's last commit."""
    snapshot = hub.storage.snapshot(repo.name, path_value(request, "revision"))
    folder = path_value(request, "path").rstrip("/") if "path" in request.path_params else ""
    entries = snapshot.children(folder, recursive=flag_of(request, "recursive"))
    commits = snapshot.git.commit_of_each_path(snapshot.commit) if flag_of(request, "expand") else {}
    answer = paged(request, entries, lambda entry: _tree_item(entry, commits.get(entry.path)))
    answer.headers["X-Repo-Commit"] = snapshot.commit
    return answer


@router.post("/api/{kind}/{namespace}/{name}/paths-info/{revision}")
async def paths_info(request: Request, hub: Hub, repo: Repo) -> list[dict[str, Any]]:
    """The files and folders asked for by path, without those that are not there. The body is a form."""
    try:
        form = parse_qs((await small_body(request)).decode(), max_num_fields=MAX_PATHS + 10)
    except ValueError as error:
        raise BadRequestError(f"The body is not a form of at most {MAX_PATHS} paths") from error
    snapshot = hub.storage.snapshot(repo.name, path_value(request, "revision"))
    expand = form.get("expand", ["false"])[0].lower() == "true"
    commits = snapshot.git.commit_of_each_path(snapshot.commit) if expand else {}
    found = []
    for path in form.get("paths", []):
        try:
            entry = snapshot.entry(path.strip("/"))
        except (EntryNotFoundError, BadRequestError):
            continue
        found.append(_tree_item(entry, commits.get(entry.path)))
    return found


def _tree_item(entry: Entry, commit: CommitRecord | None) -> dict[str, Any]:
    kind = "directory" if entry.is_folder else "file"
    item: dict[str, Any] = {"type": kind, "oid": entry.oid, "size": entry.size, "path": entry.path}
    if entry.large:
        pointer_size = len(entry.large.pointer())
        item["lfs"] = {"oid": entry.large.sha256, "size": entry.large.size, "pointerSize": pointer_size}
    if commit:
        item["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": hub_time(commit.date)}
    return item


@router.get("/api/{kind}/{namespace}/{name}/refs")
def refs(request: Request, hub: Hub, repo: Repo) -> Response:
    """Branches, tags, and with `include_prs` pull requests."""
    answer: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    if flag_of(request, "include_prs"):
        answer["pullRequests"] = []
    places = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
    git = hub.storage.git(repo.name)
    for ref, target in sorted(git.refs().items()):
        for prefix, place in places.items():
            if ref.startswith(prefix) and place in answer:
                name = ref if place == "pullRequests" else ref.removeprefix(prefix)
                # A tag with a message points to an object of its own first.
                commit = git.find_commit(ref) if place == "tags" else target
                answer[place].append({"name": name, "ref": ref, "targetCommit": commit or target})
    return json_with_etag(request, answer)


@router.get("/api/{kind}/{namespace}/{name}/commits/{revision}")
def commits(request: Request, hub: Hub, repo: Repo) -> Response:
    """The history of a revision, the newest commit first."""
    snapshot = hub.storage.snapshot(repo.name, path_value(request, "revision"))
    start = number_of(request, "cursor", 0)
    size = min(max(number_of(request, "limit", COMMITS_PER_PAGE), 1), MAX_COMMITS_PER_PAGE)
    history = snapshot.git.log(snapshot.commit, skip=start, limit=size + 1)
    formatted = "formatted" in (*request.query_params.getlist("expand"), *request.query_params.getlist("expand[]"))

    def render(commit: CommitRecord) -> dict[str, Any]:
        item: dict[str, Any] = {
            "id": commit.oid,
            "title": commit.title,
            "message": commit.message,
            "date": hub_time(commit.date),
            "authors": [{"user": commit.author}],
        }
        if formatted:
            item["formatted"] = {"title": commit.title, "message": commit.message}
        return item

    headers = link_to_next(request, start + size) if len(history) > size else {}
    return json_with_etag(request, [render(commit) for commit in history[:size]], headers)


@router.get("/api/{kind}/{namespace}/{name}/auth-check")
def auth_check(hub: Hub, repo: Repo, caller: Caller) -> dict[str, bool]:
    """Whether the caller may read the files."""
    require_files(hub, caller, repo)
    return {"ok": True}


@router.get("/api/{kind}/{namespace}/{name}/auth-check/write")
def auth_check_write(repo: Repo, caller: Caller) -> dict[str, bool]:
    """Whether the caller may change the repo."""
    require_owner(caller, repo)
    return {"ok": True}
