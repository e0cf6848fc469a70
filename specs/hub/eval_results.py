"""`.eval_results/*.yaml`: the scores that a model repo claims.

The Hub's client checks almost no types, so they are checked here. One bad entry is one rejected claim with a reason
for its author; the other entries of the file still count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from specs.bounded_yaml import load
from specs.contract import Contract
from specs.errors import YamlError
from specs.hub.result_fields import error_sentence
from specs.hub.result_item import ResultItem
from specs.hub.submission import SubmissionStatus, status_of
from specs.text import clean, is_clean

HEAD_REFS = ("main", "refs/heads/main")
"""What an entry may write for the benchmark as it is now, whenever that is."""


def pins(dataset_revision: str | None) -> bool:
    """Whether an entry that names this revision stays about it, wherever the benchmark moves.

    Other branches and tags are taken for what they name: the farm does not follow where they move.
    """
    return dataset_revision is not None and dataset_revision not in HEAD_REFS


class SubmittedResult(Contract):
    """What one accepted entry claims."""

    dataset_id: str
    task_id: str | None
    """None where an entry from before January 2026 names no task."""

    dataset_revision: str | None
    """The commit or ref that the author names; None where there is none, or none that can be one."""

    value: float
    """As written: whether it is a fraction or a percentage is decided per benchmark, not here."""

    date: str | None
    """ISO 8601."""

    source_url: str | None
    """Where the score comes from; an Inspect log there may guide a run."""

    notes: str | None
    verify_token: str | None
    """A compact JWS that nobody has verified yet."""


def is_result_path(path: str) -> bool:
    """Whether a file of a model repo holds results: `.eval_results/*.yaml`; `.yml` is read too.

    Names that no file system would take (over 255 characters) do not count.
    """
    return re.fullmatch(r"\.eval_results/[^/]{1,250}\.ya?ml", path) is not None and is_clean(path)


@dataclass(frozen=True)
class ResultEntry:
    """One item of the file's list and what became of it."""

    index: int
    """Place in the list, from 0."""

    status: SubmissionStatus
    reasons: tuple[str, ...]
    """Why it was rejected; empty otherwise."""

    warnings: tuple[str, ...]
    claim: SubmittedResult | None
    """None exactly where it was rejected."""


@dataclass(frozen=True)
class ResultFile:
    """A file's entries in its order, or the reasons why there are none."""

    entries: tuple[ResultEntry, ...]
    reasons: tuple[str, ...]


def parse(text: bytes) -> ResultFile:
    """Read one `.eval_results` file. Never raises on what the file holds: faults become reasons."""
    try:
        data = load(text)
    except YamlError as error:
        return ResultFile((), (str(error),))
    if data is None:
        return ResultFile((), ("the file holds no entries",))
    if isinstance(data, dict):
        hint = next((f"; move the list out of '{key}'" for key, value in data.items() if isinstance(value, list)), "")
        return ResultFile((), (clean(f"the top level is a mapping; it must be a list of entries{hint}", 300),))
    if not isinstance(data, list):
        return ResultFile((), ("the top level must be a list of entries",))
    if not data:
        return ResultFile((), ("the file holds no entries",))
    return ResultFile(tuple(read_entry(index, item) for index, item in enumerate(data)), ())


def read_entry(index: int, item: object) -> ResultEntry:
    """Judge one item of the list, as the file or the Hub's API gives it."""
    warnings: list[str] = []
    try:
        result = ResultItem.model_validate(item, context=warnings)
    except ValidationError as error:
        reasons = tuple(error_sentence(detail) for detail in error.errors(include_url=False))
        return ResultEntry(index, SubmissionStatus.REJECTED, reasons, tuple(warnings), None)
    return ResultEntry(index, status_of((), warnings), (), tuple(warnings), _flatten(result))


def _flatten(result: ResultItem) -> SubmittedResult:
    return SubmittedResult(
        dataset_id=result.dataset.id,
        task_id=result.dataset.task_id,
        dataset_revision=result.dataset.revision,
        value=result.value,
        date=result.date,
        source_url=result.source.url if result.source else None,
        notes=result.notes,
        verify_token=result.verify_token,
    )
