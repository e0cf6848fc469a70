"""The scores of all models on one benchmark, and those of one model on all benchmarks.

Shapes as huggingface.co answers them: a leaderboard row has no task id; an entry of `evalResults` is wrapped in
`data`, and a file that is not well-formed appears there with its error and on no leaderboard.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.localhub.content import Snapshot
from deploy.localhub.errors import RevisionNotFoundError
from deploy.localhub.names import RepoName, RepoType
from deploy.localhub.results import ResultEntry, ResultFile, result_files
from deploy.localhub.storage import Storage, card_of
from deploy.localhub.verification import is_verified


def model_results(storage: Storage, model: RepoName) -> list[dict[str, Any]]:
    """`evalResults` of a model: the entries and broken files of main, then those that open pull requests add."""
    jwks = storage.trusted_keys.load()
    answer: list[dict[str, Any]] = []
    numbers = storage.discussions.open_pull_requests().get(model, [])
    for file, pull_request in _result_files(storage.snapshot(model), numbers):
        where: dict[str, Any] = {"filename": file.filename}
        if pull_request is not None:
            where["pullRequest"] = pull_request
        if file.error is not None:
            answer.append({**where, "error": file.error})
        for data in file.entries:
            entry = ResultEntry(model.id, file.filename, data, pull_request)
            answer.append({**where, "verified": is_verified(entry, jwks), "data": data})
    return answer


def leaderboard(storage: Storage, dataset: RepoName, *, base_models_only: bool) -> list[dict[str, Any]]:
    """The rows of a benchmark by rank. Ranks count from 1 within each task, the highest value first."""
    jwks = storage.trusted_keys.load()
    organisations = storage.tokens.organisations()
    by_task: dict[str, list[ResultEntry]] = {}
    for entry in _entries_about(storage, dataset, base_models_only=base_models_only):
        by_task.setdefault(entry.task, []).append(entry)
    rows = []
    for entries in by_task.values():
        entries.sort(key=lambda entry: -entry.value)
        for rank, entry in enumerate(entries, start=1):
            rows.append(_row(rank, entry, verified=is_verified(entry, jwks), organisations=organisations))
    rows.sort(key=lambda row: row["rank"])
    return rows


def _entries_about(storage: Storage, dataset: RepoName, *, base_models_only: bool) -> Iterator[ResultEntry]:
    open_pull_requests = storage.discussions.open_pull_requests()
    for settings in storage.registry.all(RepoType.MODEL):
        if settings.private:
            continue
        model = settings.name
        try:
            main = storage.snapshot(model)
        except RevisionNotFoundError:
            continue  # deleted since the list was read
        if base_models_only and card_of(main).get("base_model"):
            continue
        for file, pull_request in _result_files(main, open_pull_requests.get(model, [])):
            for data in file.entries:
                entry = ResultEntry(model.id, file.filename, data, pull_request)
                if entry.dataset == dataset.id:
                    yield entry


def _result_files(main: Snapshot, pull_requests: list[int]) -> Iterator[tuple[ResultFile, int | None]]:
    """The files of main, then of each pull request what it adds to main: files and entries that main lacks."""
    files = result_files(main)
    yield from ((file, None) for file in files)
    known = {file.filename: file for file in files}
    for number in pull_requests:
        head = main.git.read_ref(f"refs/pr/{number}")
        if head is None:
            continue
        for file in result_files(main.at(head)):
            before = known.get(file.filename)
            if before == file:
                continue
            added = tuple(entry for entry in file.entries if before is None or entry not in before.entries)
            if added or file.error:
                yield ResultFile(file.filename, added, file.error), number


def _row(rank: int, entry: ResultEntry, *, verified: bool, organisations: frozenset[str]) -> dict[str, Any]:
    namespace = entry.model.partition("/")[0]
    row: dict[str, Any] = {
        "rank": rank,
        "modelId": entry.model,
        "value": entry.data["value"],
        "filename": entry.filename,
        "verified": verified,
        "author": {"name": namespace, "fullname": namespace, "type": "org" if namespace in organisations else "user"},
    }
    if entry.pull_request is not None:
        row["pullRequest"] = entry.pull_request
    for key in ("notes", "source"):
        if entry.data.get(key) is not None:
            row[key] = entry.data[key]
    return row
