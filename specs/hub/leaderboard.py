"""What the Hub's API says of results: a benchmark's leaderboard, and a model's `evalResults`.

Read leniently, entry by entry: rows lack keys that the documentation promises, and have others. Unknown keys are not
the author's doing and pass in silence, as do those that nothing here asks for, such as how the Hub ranks: a claim that
is too low is off as much as one that is too high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from specs.errors import SubmissionError
from specs.hub.eval_results import ResultEntry, is_result_path, read_entry
from specs.hub.result_fields import ScoreValue, error_sentence, quoted, refuse, warn
from specs.hub.submission import SubmissionStatus, status_of
from specs.ids import is_repo_id
from specs.text import clean

MAX_TEXT_CHARS = 2000


def _model_id(value: object) -> str:
    if not isinstance(value, str) or not is_repo_id(value):
        raise refuse("must be the id of a model on the Hub, not {value}", value=quoted(value))
    return value


def _filename(value: object, info: ValidationInfo) -> str | None:
    if not isinstance(value, str) or not is_result_path(value):
        warn(info, f"filename: {quoted(value)} is no file of .eval_results/, so the claim must be searched for")
        return None
    return value


def _if(test: Callable[[object], bool]) -> BeforeValidator:
    """Lets pass what passes the test; anything else is as if it were absent."""
    return BeforeValidator(lambda value: value if test(value) else None)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


_Count = Annotated[int | None, _if(_is_count)]
_Flag = Annotated[bool | None, _if(lambda value: isinstance(value, bool))]
_Text = Annotated[
    str | None, BeforeValidator(lambda value: clean(value, MAX_TEXT_CHARS) if isinstance(value, str) else None)
]


class LeaderboardRow(BaseModel):
    """One row of a leaderboard. It names no task: for that, its file has to be read."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    model_id: Annotated[str, BeforeValidator(_model_id), Field(alias="modelId")]
    value: ScoreValue
    filename: Annotated[str | None, BeforeValidator(_filename)] = None
    """Path in the model repo; None where the Hub does not say, or says nonsense."""

    verified: _Flag = None
    """Whether the Hub says that it verified the score; None where it does not say."""

    pull_request: Annotated[_Count, Field(alias="pullRequest")] = None
    """Number of the open pull request that the file is on; None for the main branch."""

    notes: _Text = None
    author_name: Annotated[_Text, Field(validation_alias=AliasPath("author", "name"))] = None


@dataclass(frozen=True)
class LeaderboardEntry:
    """One row and what became of it."""

    index: int
    status: SubmissionStatus
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    row: LeaderboardRow | None
    """None exactly where it was rejected."""


def parse_leaderboard(data: object) -> tuple[LeaderboardEntry, ...]:
    """Read the answer of `GET /api/datasets/{id}/leaderboard`.

    Raises:
        SubmissionError: the answer is not a list.
    """
    return tuple(_leaderboard_entry(index, item) for index, item in enumerate(_items(data)))


def written_in_percent(rows: Sequence[LeaderboardRow], *, before: bool) -> bool:
    """Whether a benchmark's scores are percentages: as most of those write them who claim something there.

    Who writes a value above 1 writes percentages; 0 is 0 on both scales. Each namespace has one voice, for what stands
    on its models' main branches. Where nothing does, whoever opened a pull request has one: anybody can open many.
    On a tie, or if nobody votes, the answer stays `before`.
    """
    highest: dict[str, float] = {}
    telling = [row for row in rows if row.value > 0]
    for row in [row for row in telling if row.pull_request is None] or telling:
        whose = row.model_id.rpartition("/")[0] or row.model_id
        if row.pull_request is not None and row.author_name is not None:
            whose = row.author_name
        highest[whose] = max(row.value, highest.get(whose, 0.0))
    percentages = sum(value > 1 for value in highest.values())
    fractions = len(highest) - percentages
    return before if percentages == fractions else percentages > fractions


def parse_model_eval_results(data: object) -> tuple[ResultEntry, ...]:
    """Read `evalResults` of a model, as `GET /api/models/{id}?expand=evalResults` has it.

    Raises:
        SubmissionError: it is not a list.
    """
    return tuple(_model_entry(index, item) for index, item in enumerate(_items(data)))


def _items(data: object) -> list[Any]:
    if isinstance(data, list):
        return data
    if isinstance(data, dict):
        says = f": it says {quoted(data['error'])}" if "error" in data else ""
        raise SubmissionError(f"the answer is an object, not a list of entries{says}")
    raise SubmissionError(f"the answer is not a list of entries but {quoted(data)}")


def _leaderboard_entry(index: int, item: object) -> LeaderboardEntry:
    warnings: list[str] = []
    try:
        row = LeaderboardRow.model_validate(_without_nulls(item), context=warnings)
    except ValidationError as error:
        reasons = tuple(error_sentence(detail) for detail in error.errors(include_url=False))
        return LeaderboardEntry(index, SubmissionStatus.REJECTED, reasons, tuple(warnings), None)
    if row.filename is None and not warnings:
        warnings.append("filename is missing, so the claim must be searched for in the model repo")
    return LeaderboardEntry(index, status_of((), warnings), (), tuple(warnings), row)


def _without_nulls(item: object) -> object:
    return {key: value for key, value in item.items() if value is not None} if isinstance(item, dict) else item


def _model_entry(index: int, item: object) -> ResultEntry:
    if not isinstance(item, dict):
        return read_entry(index, item)
    if isinstance(item.get("error"), str):
        reason = f"the Hub refused the file: {clean(item['error'], MAX_TEXT_CHARS)}"
        return ResultEntry(index, SubmissionStatus.REJECTED, (reason,), (), None)
    # The API wraps an entry in `data`; huggingface_hub reads it with and without.
    return read_entry(index, item.get("data", item))
