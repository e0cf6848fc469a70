"""The values in a submitted result: what each may be, and what its author is told otherwise.

What cannot be read in two ways is read, with a warning (a string, appended to the list that is the validation's
context); the rest is an error. Real files hold YAML 1.1 scalars, placeholders and half-pasted tokens.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from specs.ids import has_namespace, is_repo_id, is_task_id
from specs.text import clean, is_clean

MAX_NAME_CHARS: Final = 200
MAX_NOTES_CHARS: Final = 2_000
MAX_URL_CHARS: Final = 2_048
MAX_TOKEN_CHARS: Final = 16_384

_PLACEHOLDER = re.compile(r"<[^<>]*>|\.\.\.|…|TODO|TBD", re.IGNORECASE)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/\-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# RFC 7515, section 7.1: three parts in base64url.
_COMPACT_JWS = re.compile(r"[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+")


def refuse(sentence: str, **parts: str) -> PydanticCustomError:
    """The error to raise from a validator, with `{part}` filled in."""
    return PydanticCustomError("submission", sentence, parts)


def warn(info: ValidationInfo, sentence: str) -> None:
    """Leave a warning with whoever validates, if they asked for warnings."""
    if isinstance(info.context, list):
        info.context.append(sentence)


def quoted(value: object) -> str:
    """`value` as it may stand in a message."""
    return clean(repr(value), 60)


def as_text(value: object, info: ValidationInfo, name: str) -> str:
    """`value` as text; a number that YAML made of unquoted text is turned back, which is said."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        warn(info, f"{name}: YAML reads {value} as a number; it was taken as the text '{value}': put it in quotes")
        return str(value)
    raise refuse("must be text, not {value}; put it in quotes", value=quoted(value))


def _dataset_id(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise refuse("must be the id of a dataset on the Hub, not {value}", value=quoted(value))
    if not is_repo_id(value):
        raise refuse("{value} is not the id of a dataset on the Hub (owner/name)", value=quoted(value))
    if not has_namespace(value):
        warn(info, f"dataset.id: '{value}' has no namespace; write owner/{value}, or the Hub may find another dataset")
    return value


def _task_id(value: object, info: ValidationInfo) -> str:
    text = as_text(value, info, "dataset.task_id")
    if not is_task_id(text):
        raise refuse("must be one line of 1 to 200 characters, without spaces around it and without hidden characters")
    return text


def _revision(value: object, info: ValidationInfo) -> str | None:
    text = as_text(value, info, "dataset.revision")
    if _PLACEHOLDER.fullmatch(text) or not _REVISION.fullmatch(text) or ".." in text:
        warn(info, f"dataset.revision: {quoted(text)} is not a revision and is left out; give the commit hash")
        return None
    if not _COMMIT.fullmatch(text):
        warn(info, f"dataset.revision: '{text}' is not a commit hash and may move; give the commit hash")
    return text


def _value(value: object, info: ValidationInfo) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; remove the quotes" if isinstance(value, str) and _is_number(value) else ""
        raise refuse("must be a plain number, not {value}{hint}", value=quoted(value), hint=hint)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise refuse("must be a finite number, not {value}", value=quoted(value))
    if not 0 <= number <= 100:
        warn(info, f"value: {number:g} is neither a fraction nor a percentage; say in the notes what it measures")
    return number


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text.removesuffix("%")))
    except ValueError:
        return False


def _date(value: object, info: ValidationInfo) -> str | None:
    if isinstance(value, datetime.date):  # a datetime is a date too
        return value.isoformat()
    text = clean(as_text(value, info, "date"), 100)
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        warn(info, f"date: {quoted(text)} is not an ISO 8601 date such as 2026-01-31 and is left out")
        return None
    return text


def _is_web_address(value: object) -> bool:
    """Whether `value` is one http(s) address that can be shown as a link."""
    if not isinstance(value, str) or len(value) > MAX_URL_CHARS or re.search(r"\s", value) or not is_clean(value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _url(value: object) -> object:
    if not _is_web_address(value):
        raise refuse("must be one web address (https://…) without spaces, not {value}", value=quoted(value))
    return value


def _name(value: object, info: ValidationInfo) -> str | None:
    name = f"source.{info.field_name}"
    return clean(as_text(value, info, name), MAX_NAME_CHARS) or None


def _notes(value: object, info: ValidationInfo) -> str | None:
    if isinstance(value, bool):
        # YAML 1.1 reads no, off, yes and on as booleans; which word it was is lost.
        word = "yes" if value else "no"
        warn(info, f"notes: YAML reads an unquoted word as {value}; it was taken as '{word}': put it in quotes")
        return word
    return clean(as_text(value, info, "notes"), MAX_NOTES_CHARS) or None


def _token(value: object, info: ValidationInfo) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS or not _COMPACT_JWS.fullmatch(value):
        warn(info, "verifyToken: a placeholder or an incomplete token, left out; nothing can be verified with it")
        return None
    return value


def error_sentence(detail: ErrorDetails) -> str:
    """A validation error with the name of its field in front."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {detail['msg']}" if where else f"the entry: {detail['msg']}"


DatasetId = Annotated[str, BeforeValidator(_dataset_id)]
"""Id of a dataset repo, owner/name."""

TaskId = Annotated[str, BeforeValidator(_task_id)]
"""As the benchmark's eval.yaml spells it; free text."""

Revision = Annotated[str | None, BeforeValidator(_revision)]
"""A commit or ref of the dataset repo; None where a placeholder stands."""

ScoreValue = Annotated[float, BeforeValidator(_value)]
"""A finite score as written: a fraction or a percentage, which no format of the Hub says."""

IsoDate = Annotated[str | None, BeforeValidator(_date)]
WebAddress = Annotated[str, BeforeValidator(_url)]
SourceName = Annotated[str | None, BeforeValidator(_name)]
Notes = Annotated[str | None, BeforeValidator(_notes)]
"""The setup in free text, such as "no-tools"; one line, without control characters."""

VerifyToken = Annotated[str | None, BeforeValidator(_token)]
"""A compact JWS; None where something stands that cannot be one."""
