"""Checks any of the Hub's benchmark files and says what would become of it here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from specs.contract import Contract
from specs.errors import SubmissionError
from specs.hub import eval_results, eval_yaml, known_benchmarks
from specs.hub.file_kind import SUFFIXES, Kind, kind_of, likely_kind
from specs.hub.leaderboard import parse_leaderboard, parse_model_eval_results
from specs.hub.reproducibility import warnings_for
from specs.hub.submission import SubmissionStatus, status_of
from specs.hub.task_spec import SpecStatus, TaskSpec

# A leaderboard of ten thousand models.
MAX_JSON_BYTES = 8 * 1024 * 1024


class CheckedEntry(Contract):
    """A task of an eval.yaml, or an entry of one of the other files."""

    status: SpecStatus | SubmissionStatus
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


class CheckedFile(Contract):
    """What `reprofarm check` says of one file."""

    path: str
    kind: Kind
    status: SpecStatus | SubmissionStatus
    """As good as its worst entry."""

    reasons: tuple[str, ...]
    """Of the file and of all its entries, each with its place."""

    warnings: tuple[str, ...]
    entries: tuple[CheckedEntry, ...]
    """In the order of the file."""

    @property
    def is_sound(self) -> bool:
        """Neither invalid nor rejected."""
        return self.status not in (SpecStatus.INVALID, SubmissionStatus.REJECTED)


def check_path(path: Path) -> list[CheckedFile]:
    """Check a file, or every file in a folder whose name, folder or content says that it is one of the Hub's.

    Raises:
        SubmissionError: a file can't be read.
    """
    checked = (check_file(each, must_judge=each == path) for each in find_files(path))
    return [each for each in checked if each is not None]


def find_files(path: Path) -> list[Path]:
    """`path` itself, or the YAML and JSON files in and below that folder, sorted; links to folders are not followed.

    Raises:
        SubmissionError: there is no such file or folder.
    """
    if not path.exists():
        raise SubmissionError(f"{path}: there is no such file or folder")
    if not path.is_dir():
        return [path]
    found = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if name != ".git"]
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    return sorted(found)


def check_file(path: Path, *, must_judge: bool = True) -> CheckedFile | None:
    """Check one file; unless it `must_judge`, None for a file that is none of the Hub's.

    Raises:
        SubmissionError: it can't be read.
    """
    try:
        if not path.is_file():
            raise SubmissionError(f"{path}: not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error
    if not must_judge and kind_of(str(path), data) is None:
        return None
    return check_bytes(str(path), data)


def check_bytes(name: str, data: bytes) -> CheckedFile:
    """Check the content of the file called `name`, whose folder counts too."""
    # A file name may hold bytes that are no text; what is shown and sent must be.
    name = name.encode("utf-8", "replace").decode("utf-8")
    kind = kind_of(name, data) or likely_kind(name, data)
    if kind == "eval_yaml":
        return _check_eval_yaml(name, data)
    if kind == "eval_results":
        return _check_eval_results(name, data)
    return _check_api_answer(name, kind, data)


def _check_eval_yaml(name: str, data: bytes) -> CheckedFile:
    spec = eval_yaml.parse(data)
    known = known_benchmarks.by_content(spec.name, {task.id for task in spec.tasks})
    is_gated = known.is_gated if known else None

    def entry(task: TaskSpec) -> CheckedEntry:
        warnings = (*task.warnings, *warnings_for(task, description=spec.description, is_gated=is_gated))
        return CheckedEntry(status=task.status, reasons=task.reasons, warnings=warnings)

    entries = tuple(entry(task) for task in spec.tasks)
    labels = [task.id or f"tasks[{index}]" for index, task in enumerate(spec.tasks)]
    return CheckedFile(
        path=name,
        kind="eval_yaml",
        status=spec.status,
        reasons=spec.reasons,
        warnings=(*spec.warnings, *_merged(labels, [each.warnings for each in entries])),
        entries=entries,
    )


def _check_eval_results(name: str, data: bytes) -> CheckedFile:
    result = eval_results.parse(data)
    # The Hub's documentation names *.yaml alone, and other readers look for nothing else.
    warnings = ("the file ends in .yml; the Hub documents .eval_results/*.yaml",) if name.endswith(".yml") else ()
    return _summed_up(name, "eval_results", [_entry(each) for each in result.entries], result.reasons, warnings)


def _check_api_answer(name: str, kind: Kind, data: bytes) -> CheckedFile:
    try:
        answer = _read_json(data)
        if kind == "leaderboard":
            rows = parse_leaderboard(answer)
            entries = [CheckedEntry(status=row.status, reasons=row.reasons, warnings=row.warnings) for row in rows]
        else:
            inner = answer.get("evalResults", answer) if isinstance(answer, dict) else answer
            entries = [_entry(each) for each in parse_model_eval_results(inner)]
    except SubmissionError as error:
        return _summed_up(name, kind, [], (str(error),), ())
    return _summed_up(name, kind, entries, (), ())


def _read_json(data: bytes) -> object:
    if len(data) > MAX_JSON_BYTES:
        raise SubmissionError(f"the file has more than {MAX_JSON_BYTES:,} bytes")
    try:
        answer: object = json.loads(data)
    except RecursionError as error:
        raise SubmissionError("the JSON is nested too deep") from error
    except ValueError as error:
        raise SubmissionError(f"not JSON: {error}") from error
    return answer


def _entry(result: eval_results.ResultEntry) -> CheckedEntry:
    warnings = result.warnings
    if result.claim is not None:
        foreign = known_benchmarks.foreign_task_warning(result.claim.dataset_id, result.claim.task_id)
        warnings = (*warnings, foreign) if foreign else warnings
    return CheckedEntry(status=status_of(result.reasons, warnings), reasons=result.reasons, warnings=warnings)


def _summed_up(
    name: str, kind: Kind, entries: Sequence[CheckedEntry], reasons: tuple[str, ...], warnings: tuple[str, ...]
) -> CheckedFile:
    labels = [f"entry {number}" for number in range(1, len(entries) + 1)]
    all_reasons = (*reasons, *_merged(labels, [each.reasons for each in entries]))
    all_warnings = (*warnings, *_merged(labels, [each.warnings for each in entries]))
    return CheckedFile(
        path=name,
        kind=kind,
        status=status_of(all_reasons, all_warnings),
        reasons=all_reasons,
        warnings=all_warnings,
        entries=tuple(entries),
    )


def _merged(labels: Sequence[str], groups: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each message with the labels of the entries that share it; without, where all do."""
    owners: dict[str, list[str]] = {}
    for label, messages in zip(labels, groups, strict=True):
        for message in messages:
            owners.setdefault(message, []).append(label)
    for message, who in owners.items():
        yield message if len(who) == len(labels) else f"{', '.join(who)}: {message}"
