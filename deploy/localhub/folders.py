"""Filling a Hub from files at hand: folders of models and benchmarks, and single results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.localhub.commits import CommitText
from deploy.localhub.errors import BadRequestError, EntryNotFoundError
from deploy.localhub.hub import CommitResult, LocalHub
from deploy.localhub.names import RepoName, check_path
from deploy.localhub.results import FOLDER
from specs import bounded_yaml
from specs.errors import YamlError

# What tools leave in a folder and nobody wants in a repo.
_LEFT_OUT = {".git", ".cache", "__pycache__", ".DS_Store"}


def add_folder(hub: LocalHub, repo: RepoName, folder: Path, author: str) -> CommitResult:
    """Commit all files of a folder to a repo's main branch, which is made if it is not there.

    Links are followed (the Hub's download cache consists of them). Files that the repo has and the folder has not
    stay. Doing it again without a change makes no commit.

    Raises:
        BadRequestError: this is no folder, or has no files.
    """
    files = _files_in(folder)
    if not hub.has_repo(repo):
        hub.create_repo(repo)
    return _add(hub, repo, files, author)


def add_benchmark(
    hub: LocalHub, repo: RepoName, folder: Path, author: str, *, gated: bool | None, official: bool | None
) -> CommitResult:
    """The same for a benchmark, which is gated before its files come, and official or not.

    None leaves that as it is; a benchmark that is made now is then open, and official.

    Raises:
        BadRequestError: this is no folder, or has no files.
    """
    files = _files_in(folder)
    if not hub.has_repo(repo):
        hub.create_repo(repo)
        official = official is not False
    if gated is not None:
        hub.set_gated(repo, "manual" if gated else None)
    if official is not None:
        hub.mark_benchmark(repo, official)
    return _add(hub, repo, files, author)


def _files_in(folder: Path) -> dict[str, bytes | Path]:
    if not folder.is_dir():
        raise BadRequestError(f"{folder} is not a folder")
    files: dict[str, bytes | Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not _LEFT_OUT.intersection(inside.parts):
            files[check_path(inside.as_posix())] = path
    if not files:
        raise BadRequestError(f"{folder} has no files")
    return files


def _add(hub: LocalHub, repo: RepoName, files: dict[str, bytes | Path], author: str) -> CommitResult:
    return hub.commit(repo, files, CommitText(f"Add {len(files)} files", author))


@dataclass(frozen=True)
class Submission:
    """Where a result goes: the model, the file's name under `.eval_results` (None: made up), and by whom."""

    model: RepoName
    author: str
    filename: str | None = None
    as_pull_request: bool = False


def result_entry(dataset: str, task: str, value: float, *, notes: str | None, source_url: str | None) -> dict[str, Any]:
    """One entry of an `.eval_results` file."""
    entry: dict[str, Any] = {"dataset": {"id": dataset, "task_id": task}, "value": value}
    if source_url:
        entry["source"] = {"url": source_url}
    if notes:
        entry["notes"] = notes
    return entry


def submit_entry(hub: LocalHub, submission: Submission, entry: dict[str, Any]) -> CommitResult:
    """Add an entry to the model's result file, which is made if it is not there.

    Raises:
        BadRequestError: the file is there and is no list of entries.
    """
    filename = submission.filename or f"{str(entry['dataset']['id']).rpartition('/')[2]}.yaml"
    path = _path_of(filename)
    try:
        present = bounded_yaml.load(hub.read_file(submission.model, path))
    except EntryNotFoundError:
        present = []
    except YamlError as error:
        raise BadRequestError(f"{path} cannot be added to: {error}. Choose another --filename") from error
    if not isinstance(present, list):
        raise BadRequestError(f"{path} cannot be added to: it is not a list. Choose another --filename")
    text = yaml.safe_dump([*present, entry], sort_keys=False, allow_unicode=True)
    return _submit(hub, submission, path, text.encode())


def submit_file(hub: LocalHub, submission: Submission, file: Path) -> CommitResult:
    """Submit a result file as it is, well-formed or not.

    Raises:
        BadRequestError: the file cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadRequestError(f"{file} cannot be read: {error.strerror}") from error
    return _submit(hub, submission, _path_of(submission.filename or file.name), content)


def _path_of(filename: str) -> str:
    if "/" in filename or not filename.endswith((".yaml", ".yml")):
        raise BadRequestError(f"A result file is called NAME.yaml, not {filename[:200]!r}")
    return check_path(FOLDER + filename)


def _submit(hub: LocalHub, submission: Submission, path: str, content: bytes) -> CommitResult:
    text = CommitText(f"Add {path}", submission.author)
    return hub.commit(submission.model, {path: content}, text, create_pr=submission.as_pull_request)
