"""What the control plane reads from the Hub: bounded, conditional where the Hub can, and with errors told apart."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection
from functools import cached_property
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._pagination import paginate

from scheduler.hub.answers import (
    BenchmarkHead,
    HubFile,
    Leaderboard,
    ModelHead,
    OwnCommits,
    PullRequestHead,
    RepoType,
    TreeFile,
)
from scheduler.hub.hub_errors import Moved, is_of_the_hub, raise_for_status, told_apart
from scheduler.hub.hub_limits import HubLimits
from specs.engines.model_weights import read_counts
from specs.errors import HubAway, SubmissionError
from specs.ids import is_repo_id
from specs.processes.bounded_answers import MAX_ANSWER_SECONDS, refuse_packed
from specs.processes.hub_client import hub_client
from specs.processes.hub_client_hooks import staying_on_tls
from specs.text import clean

OFFICIAL = "benchmark:official"
MAX_LEADERBOARD_BYTES = 64 * 2**20
MAX_CARD_BYTES = 8 * 2**20
MAX_TREE_FILES = 20_000
MAX_REDIRECTS = 5
MAX_COMMITS = 5000
"""Of a dataset's main branch, newest first, among which one that a claim pins is looked for; and of a model's, among
which that is looked for where a pull request branched off."""

COMMITS_PER_PAGE = 1000
"""The most that the Hub lists at once; it lists 50 if it is asked for no number."""

MAX_PULL_REQUESTS = 200
"""Open pull requests of one model that are looked at, newest first."""

MAX_BENCHMARKS = 10_000
MAX_PATH_CHARS = 4096
MAX_NAME_CHARS = 200

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Hub:
    """The Hub at one endpoint, read with one token (or none)."""

    def __init__(self, endpoint: str, token: str | None, request_seconds: float) -> None:
        self.endpoint = endpoint
        self.limits = HubLimits()
        self._request_seconds = request_seconds
        self._own_name: str | None = None
        set_client_factory(self._client_of_the_library)
        self.api = HfApi(endpoint=self.endpoint, token=token or False)
        self._http = httpx2.Client(
            # Nothing is unpacked on the way, so that bounds on what comes are bounds on what is held.
            headers={**build_hf_headers(token=token or False), "Accept-Encoding": "identity"},
            timeout=request_seconds,
            follow_redirects=True,
            event_hooks={"request": [staying_on_tls(self.endpoint)], "response": [self._hear]},
        )

    def own_name(self) -> str | None:
        """The user that the token belongs to; None without a token. Asked for once: the Hub rations that."""
        if not self.api.token:
            return None
        if self._own_name is None:
            with told_apart("whoami"):
                self._own_name = str(self.api.whoami()["name"])
        return self._own_name

    def forget_own_name(self) -> None:
        """Have the Hub asked again whose the token is: it may know it no more."""
        self._own_name = None

    def benchmarks(self) -> list[BenchmarkHead]:
        """Every dataset that the Hub lists as a benchmark."""
        with told_apart(OFFICIAL):
            listed = self.api.list_datasets(filter=OFFICIAL, expand=["sha", "gated"])
            return [
                BenchmarkHead(info.id, _commit(info.sha), bool(info.gated))
                for info in islice(listed, MAX_BENCHMARKS)
                if info.sha and is_repo_id(info.id)
            ]

    def benchmark(self, dataset_id: str) -> BenchmarkHead:
        """One dataset's main branch.

        Raises:
            Missing: there is no such dataset.
            Moved: it has another id.
        """
        with told_apart(dataset_id):
            info = self.api.dataset_info(dataset_id, expand=["sha", "gated"])
            _check_id(info.id, dataset_id)
            return BenchmarkHead(dataset_id, _commit(info.sha), bool(info.gated))

    def own_commits(self, dataset_id: str) -> OwnCommits:
        """The commits of a dataset's main branch, as far as `MAX_COMMITS` back, and of its other branches and tags."""
        with told_apart(f"history of {dataset_id}"):
            refs = self.api.list_repo_refs(dataset_id, repo_type="dataset")
            return OwnCommits(
                {
                    name: _commit(ref.target_commit)
                    for ref in (*refs.tags, *refs.branches)
                    for name in (ref.ref, ref.name)
                },
                self._history("datasets", dataset_id, "main", MAX_COMMITS),
            )

    def commits(self, model_id: str, ref: str, most: int) -> tuple[str, ...]:
        """The commits of a ref of a model repo with all that they go back to, newest first, as far as `most`."""
        with told_apart(f"history of {ref} of {model_id}"):
            return self._history("models", model_id, ref, most)

    def _history(self, kind: str, repo_id: str, ref: str, most: int) -> tuple[str, ...]:
        listed = paginate(
            f"{self.endpoint}/api/{kind}/{quote(repo_id, safe='/')}/commits/{quote(ref, safe='')}",
            params={"limit": min(most, COMMITS_PER_PAGE)},
            headers=build_hf_headers(token=self.api.token),
        )
        return tuple(_commit(commit["id"]) for commit in islice(listed, most))

    def dataset_card(self, dataset_id: str, revision: str) -> object:
        """The metadata of a dataset's README at a commit, whatever its author wrote there.

        None where there is none.

        Raises:
            SubmissionError: it is larger than `MAX_CARD_BYTES`, or nested too deeply to be read.
        """
        # Without huggingface_hub, which takes the author's keys for arguments of its own.
        url = f"{self.endpoint}/api/datasets/{quote(dataset_id, safe='/')}/revision/{quote(revision, safe='')}"
        with told_apart(f"card of {dataset_id}"):
            content = self._read(url, MAX_CARD_BYTES, {"expand": "cardData"})
            if content is None:
                raise SubmissionError(f"the card of {dataset_id} is larger than {MAX_CARD_BYTES} bytes")
            try:
                info = json.loads(content)
            except RecursionError as error:
                raise SubmissionError(f"the card of {dataset_id} is nested too deeply") from error
            return info.get("cardData") if isinstance(info, dict) else None

    def model(self, model_id: str) -> ModelHead:
        """A model repo's main branch.

        Raises:
            Gone: there is no such model.
            Moved: it has another id.
        """
        with told_apart(model_id):
            info = self.api.model_info(model_id, expand=["sha", "gated", "private", "safetensors"])
            _check_id(info.id, model_id)
            counted = info.safetensors.parameters if info.safetensors is not None else None
            return ModelHead(_commit(info.sha), bool(info.gated), read_counts(counted), bool(info.private))

    def eval_results(self, model_id: str) -> list[object]:
        """What the Hub shows of a model's results, on main and on open pull requests, as it has read them itself."""
        # Without huggingface_hub, which stumbles over an entry without a task and leaves out which file it is of.
        url = f"{self.endpoint}/api/models/{quote(model_id, safe='/')}"
        with told_apart(f"results of {model_id}"):
            content = self._read(url, MAX_CARD_BYTES, {"expand": "evalResults"})
            found = json.loads(content).get("evalResults") if content is not None else None
            return found if isinstance(found, list) else []

    def tree(self, repo_id: str, commit: str, repo_type: RepoType = "model") -> list[TreeFile]:
        """All files of a repo at a commit, as far as `MAX_TREE_FILES`."""
        with told_apart(f"{repo_id} at {commit}"):
            files: list[TreeFile] = []
            for item in self.api.list_repo_tree(repo_id, recursive=True, revision=commit, repo_type=repo_type):
                if isinstance(item, RepoFile):
                    files.append(_tree_file(item))
                if len(files) >= MAX_TREE_FILES:
                    raise SubmissionError(f"{repo_id} holds more than {MAX_TREE_FILES} files")
            return files

    def pull_requests(self, model_id: str) -> list[PullRequestHead]:
        """The open pull requests of a model repo, newest first, as far as `MAX_PULL_REQUESTS`."""
        with told_apart(f"pull requests of {model_id}"):
            opened = []
            for found in self.api.get_repo_discussions(
                model_id, discussion_type="pull_request", discussion_status="open"
            ):
                opened.append((int(found.num), clean(str(found.author), MAX_NAME_CHARS)))
                if len(opened) == MAX_PULL_REQUESTS:
                    break
            if not opened:
                return []
            return self._heads(model_id, opened)

    def still_open(self, model_id: str, refs: Collection[str]) -> list[PullRequestHead]:
        """Those of some pull requests of a model repo that are open, one request each."""
        with told_apart(f"pull requests of {model_id}"):
            opened = []
            for ref in sorted(refs):
                try:
                    found = self.api.get_discussion_details(model_id, int(ref.rpartition("/")[2]))
                except HfHubHTTPError as error:
                    if is_of_the_hub(error.response) and error.response.status_code == httpx2.codes.NOT_FOUND:
                        # Deleted.
                        continue
                    raise
                if found.status in ("open", "draft"):
                    opened.append((int(found.num), clean(str(found.author), MAX_NAME_CHARS)))
            return self._heads(model_id, opened) if opened else []

    def _heads(self, model_id: str, opened: list[tuple[int, str]]) -> list[PullRequestHead]:
        refs = self.api.list_repo_refs(model_id, include_pull_requests=True).pull_requests or []
        commits = {ref.ref: _commit(ref.target_commit) for ref in refs}
        heads = [PullRequestHead(number, author, commits.get(f"refs/pr/{number}", "")) for number, author in opened]
        return [head for head in heads if head.commit]

    def leaderboard(self, dataset_id: str, etag: str | None) -> Leaderboard:
        """A benchmark's leaderboard, unless it is still the one with that ETag.

        Asked for with every model: the default view (`base_model=true`) hides those that declare a base model.
        """
        url = f"{self.endpoint}/api/datasets/{quote(dataset_id, safe='/')}/leaderboard"
        with told_apart(f"leaderboard of {dataset_id}"):
            with self._http.stream(
                "GET", url, params={"base_model": "false"}, headers={"If-None-Match": etag} if etag else {}
            ) as answer:
                if answer.status_code == httpx2.codes.NOT_MODIFIED:
                    return Leaderboard(None, etag)
                raise_for_status(answer, url)
                content = _body(answer, MAX_LEADERBOARD_BYTES)
            if content is None:
                raise SubmissionError(f"the leaderboard of {dataset_id} is larger than {MAX_LEADERBOARD_BYTES} bytes")
            return Leaderboard(json.loads(content), answer.headers.get("etag"))

    def read_file(self, repo_type: RepoType, repo_id: str, commit: str, path: str, max_bytes: int) -> bytes:
        """A file of a repo at a commit, or a ref.

        Raises:
            Missing: there is none.
            SubmissionError: it is larger than `max_bytes`; no more than that was read.
        """
        url = self._file_url(repo_type, repo_id, commit, path)
        with told_apart(f"{path} of {repo_id}"), self._http.stream("GET", url) as answer:
            raise_for_status(answer, url)
            content = _body(answer, max_bytes)
            if content is not None:
                _check_is_at(answer, commit)
        if content is None:
            raise SubmissionError(f"{path} is larger than {max_bytes} bytes")
        return content

    def _read(self, url: str, max_bytes: int, asked: dict[str, str]) -> bytes | None:
        """The body of an answer; None where it is larger, of which no more than that is read."""
        with self._http.stream("GET", url, params=asked) as answer:
            raise_for_status(answer, url)
            return _body(answer, max_bytes)

    def download_file(self, file: HubFile, target: Path, max_bytes: int, is_late: Callable[[], bool]) -> None:
        """Write a file of a public repo to `target`, read as anybody can: without the farm's token.

        The token may open repos that whoever named this one cannot read, and that are nobody else's business.

        Raises:
            Missing: there is none.
            NoAccess: not everybody may read it.
            SubmissionError: it is larger than `max_bytes`, or was not there before it `is_late`; no more was read.
            HubAway: the Hub is busy or away.
        """
        url = self._file_url(file.repo_type, file.repo_id, file.revision, file.path)
        with told_apart(f"{file.path} of {file.repo_id}"), self._anybody.stream("GET", url) as answer:
            raise_for_status(answer, url)
            written = 0
            with target.open("wb") as copy:
                # As it is stored: nothing is unpacked on the way.
                for part in answer.iter_raw():
                    written += len(part)
                    if written > max_bytes:
                        raise SubmissionError(f"{file.path} is larger than {max_bytes} bytes")
                    if is_late():
                        raise SubmissionError(f"{file.path} takes too long to fetch")
                    copy.write(part)

    def _file_url(self, repo_type: RepoType, repo_id: str, revision: str, path: str) -> str:
        prefix = "datasets/" if repo_type == "dataset" else ""
        return f"{self.endpoint}/{prefix}{quote(repo_id, safe='/')}/resolve/{quote(revision, safe='')}/{quote(path)}"

    @cached_property
    def _anybody(self) -> httpx2.Client:
        """A client without a token. Redirects are the Hub's, to where it stores files."""
        return httpx2.Client(
            headers={**build_hf_headers(token=False), "Accept-Encoding": "identity"},
            timeout=self._http.timeout,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            event_hooks={"request": [staying_on_tls(self.endpoint)]},
        )

    def _client_of_the_library(self) -> httpx2.Client:
        """huggingface_hub's client, one for the whole process, which says what it hears of limits."""
        return hub_client(self.endpoint, self._request_seconds, hear=self._hear)

    def _hear(self, answer: httpx2.Response) -> None:
        # Not what a store says that the Hub leads to.
        if str(answer.request.url).startswith(f"{self.endpoint}/"):
            self.limits.hear(answer.headers)


def _check_id(found: object, asked: str) -> None:
    """Hold a repo's id against what it was asked for by: renamed repos, and ids in other case, are answered for too."""
    if not isinstance(found, str) or not is_repo_id(found):
        raise ValueError(f"no id of a repo: {clean(repr(found), 100)}")
    if found != asked:
        raise Moved(asked, found)


def _commit(value: object) -> str:
    """A commit as the Hub names it, and not just anything in its place: it becomes part of addresses and of proofs."""
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise ValueError(f"no commit: {clean(repr(value), 100)}")
    return value


def _check_is_at(answer: httpx2.Response, revision: str) -> None:
    """Hold a file against where it was asked for: the Hub names the commit, and a page that stands in for it does not.

    As huggingface_hub does, which downloads nothing without.

    Raises:
        HubAway: it is from elsewhere.
    """
    # Where the Hub leads to a store, it is the first answer that says so.
    named = {each.headers["x-repo-commit"] for each in (*answer.history, answer) if "x-repo-commit" in each.headers}
    if not named or (_COMMIT.fullmatch(revision) and revision not in named):
        raise HubAway(f"the answer does not say that it is a file of the Hub at {revision}")


def _tree_file(item: RepoFile) -> TreeFile:
    path, blob_id, size = item.path, item.blob_id, item.size
    if not (isinstance(path, str) and isinstance(blob_id, str) and isinstance(size, int)):
        raise TypeError("a file without a path, an id or a size")
    if len(path) > MAX_PATH_CHARS or "\0" in path or not _COMMIT.fullmatch(blob_id) or not 0 <= size < 2**63:
        raise ValueError(f"a file that is none: {clean(path, 200)}")
    return TreeFile(path, blob_id, size)


def _body(answer: httpx2.Response, max_bytes: int) -> bytes | None:
    """The body of an answer; None where it is larger, of which no more than that is read.

    Raises:
        HubAway: it is packed, which it was asked not to be, or does not end in time.
    """
    refuse_packed(answer.headers)
    late = time.monotonic() + MAX_ANSWER_SECONDS
    content = bytearray()
    for part in answer.iter_raw():
        content += part
        if len(content) > max_bytes:
            return None
        if time.monotonic() > late:
            raise HubAway(f"the Hub's answer did not end within {MAX_ANSWER_SECONDS:.0f} s")
    return bytes(content)
