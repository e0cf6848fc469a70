"""One entry of `.eval_results/*.yaml`, strictly: what the format is, and what is said about what is not.

Format: https://huggingface.co/docs/hub/eval-results; what real files hold beside it: YAML 1.1 scalars, nulls,
placeholders, `verify_token`. What cannot be read in two ways is read, with a warning; the rest is an error.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from specs.model import Contract
from specs.repo_ids import has_namespace, is_repo_id
from specs.text import clean, is_clean

MAX_ID_CHARS: Final = 200
MAX_NAME_CHARS: Final = 200
MAX_NOTES_CHARS: Final = 2_000
MAX_URL_CHARS: Final = 2_048
MAX_TOKEN_CHARS: Final = 16_384

_PLACEHOLDER = re.compile(r"<[^<>]*>|\.\.\.|…|TODO|TBD", re.IGNORECASE)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/\-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# RFC 7515, section 7.1: three parts in base64url.
_COMPACT_JWS = re.compile(r"[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+")


def _refuse(sentence: str, **parts: str) -> PydanticCustomError:
    return PydanticCustomError("submission", sentence, parts)  # type: ignore[arg-type]  # wants a literal


def _warn(info: ValidationInfo, sentence: str) -> None:
    if isinstance(info.context, list):
        info.context.append(sentence)


def _shown(value: object) -> str:
    return clean(repr(value), 60)


def _text(value: object, info: ValidationInfo, name: str) -> str:
    """`value` as text; a number that YAML made of unquoted text is turned back, which is said."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        _warn(info, f"{name}: YAML reads {value} as a number; it was taken as the text '{value}': put it in quotes")
        return str(value)
    raise _refuse("must be text, not {value}; put it in quotes", value=_shown(value))


def _dataset_id(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise _refuse("must be the id of a dataset on the Hub, not {value}", value=_shown(value))
    if not is_repo_id(value):
        raise _refuse("{value} is not the id of a dataset on the Hub (owner/name)", value=_shown(value))
    if not has_namespace(value):
        _warn(info, f"dataset.id: '{value}' has no namespace; write owner/{value}, or the Hub may find another dataset")
    return value


def _task_id(value: object, info: ValidationInfo) -> str:
    text = _text(value, info, "dataset.task_id")
    if not text or len(text) > MAX_ID_CHARS or not is_clean(text):
        raise _refuse("must be one line of 1 to 200 characters, without spaces around it and without hidden characters")
    return text


def _revision(value: object, info: ValidationInfo) -> str | None:
    text = _text(value, info, "dataset.revision")
    if _PLACEHOLDER.fullmatch(text) or not _REVISION.fullmatch(text) or ".." in text:
        _warn(info, f"dataset.revision: {_shown(text)} is not a revision and is left out; give the commit hash")
        return None
    if not _COMMIT.fullmatch(text):
        _warn(info, f"dataset.revision: '{text}' is not a commit hash and may move; give the commit hash")
    return text


def _value(value: object, info: ValidationInfo) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; remove the quotes" if isinstance(value, str) and _is_number(value) else ""
        raise _refuse("must be a plain number, not {value}{hint}", value=_shown(value), hint=hint)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refuse("must be a finite number, not {value}", value=_shown(value))
    if not 0 <= number <= 100:
        _warn(info, f"value: {number:g} is neither a fraction nor a percentage; say in the notes what it measures")
    return number


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text.removesuffix("%")))
    except ValueError:
        return False


def _date(value: object, info: ValidationInfo) -> str | None:
    if isinstance(value, datetime.date):  # a datetime is a date too
        return value.isoformat()
    text = clean(_text(value, info, "date"), 100)
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        _warn(info, f"date: {_shown(text)} is not an ISO 8601 date such as 2026-01-31 and is left out")
        return None
    return text


def _url(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_URL_CHARS or re.search(r"\s", value) or not is_clean(value):
        raise _refuse("must be one web address without spaces, not {value}", value=_shown(value))
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise _refuse("must begin with https:// or http://, not {value}", value=_shown(value))
    return value


def _name(value: object, info: ValidationInfo) -> str | None:
    name = f"source.{info.field_name}"
    return clean(_text(value, info, name), MAX_NAME_CHARS) or None


def _notes(value: object, info: ValidationInfo) -> str | None:
    if isinstance(value, bool):
        # YAML 1.1 reads no, off, yes and on as booleans; which word it was is lost.
        word = "yes" if value else "no"
        _warn(info, f"notes: YAML reads an unquoted word as {value}; it was taken as '{word}': put it in quotes")
        return word
    return clean(_text(value, info, "notes"), MAX_NOTES_CHARS) or None


def _token(value: object, info: ValidationInfo) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS or not _COMPACT_JWS.fullmatch(value):
        _warn(info, "verifyToken: a placeholder or an incomplete token, left out; nothing can be verified with it")
        return None
    return value


class _Section(Contract):
    """A mapping of the file. Null means absent; unknown keys are named and left out."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            raise _refuse("must be a mapping with {keys}, not {value}", keys=cls._keys(), value=_shown(data))
        known: dict[str, object] = {}
        for key, value in data.items():
            if value is None:
                continue
            if key == "verify_token" and "verifyToken" not in data:
                _warn(info, "verify_token: the Hub's name of this key is verifyToken")
                known["verifyToken"] = value
            elif isinstance(key, str) and key in {field.alias or name for name, field in cls.model_fields.items()}:
                known[key] = value
            else:
                _warn(info, f"{_shown(key)} is not a key of the format and is left out")
        return known

    @classmethod
    def _keys(cls) -> str:
        required = [name for name, field in cls.model_fields.items() if field.is_required()]
        return " and ".join(required)


class ResultDataset(_Section):
    """Which task of which benchmark."""

    id: Annotated[str, BeforeValidator(_dataset_id)]
    """Id of the benchmark's dataset repo, owner/name."""

    task_id: Annotated[str | None, BeforeValidator(_task_id)] = None
    """As the benchmark's eval.yaml spells it. Optional until January 2026."""

    revision: Annotated[str | None, BeforeValidator(_revision)] = None
    """Commit of the dataset repo."""


class ResultSource(_Section):
    """Who says so, and where."""

    url: Annotated[str, BeforeValidator(_url)]
    name: Annotated[str | None, BeforeValidator(_name)] = None
    user: Annotated[str | None, BeforeValidator(_name)] = None
    org: Annotated[str | None, BeforeValidator(_name)] = None


class ResultItem(_Section):
    """One score. The file is a list of these."""

    dataset: ResultDataset
    value: Annotated[float, BeforeValidator(_value)]
    """The score as the author writes it: a fraction or a percentage, which the format does not say."""

    verify_token: Annotated[str | None, BeforeValidator(_token), Field(alias="verifyToken")] = None
    """A compact JWS that proves the score."""

    date: Annotated[str | None, BeforeValidator(_date)] = None
    """When the evaluation ran, ISO 8601."""

    source: ResultSource | None = None
    notes: Annotated[str | None, BeforeValidator(_notes)] = None
    """The setup in free text, such as "no-tools"."""

    @model_validator(mode="before")
    @classmethod
    def _value_stands_where_it_belongs(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("value") is None and "metrics" in data:
            raise _refuse("value is missing; an older format had it in metrics[].value, write it beside dataset")
        return data
