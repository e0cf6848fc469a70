"""What a process logs, as lines of JSON where its settings say so, with what the line is about in fields of its own.

Without a library for it: those put out every field that any library adds to a record, and these fields are not masked
(specs/processes/secrets.py). Here a line has the fields below and no others, and its words are those that were masked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from specs.ids import trace_id_of
from specs.text import clean

LogFormat = Literal["text", "json"]

FIELDS = ("claim_id", "reproduction_id", "attempt", "batch_id", "worker", "pool", "trace_id")
"""What a line may be about."""

MAX_VALUE_CHARS = 200

HTTP = ("httpx", "httpx2")
"""Clients that log every request."""

_about: ContextVar[Mapping[str, str | int]] = ContextVar("about", default={})  # noqa: B039 - never changed in place


@contextmanager
def about(**fields: str | int | None) -> Iterator[None]:
    """Have every line that is logged in this block (by this thread) say what it is about; None says nothing of it."""
    known = {name: value for name, value in fields.items() if value is not None}
    if not known.keys() <= set(FIELDS):
        raise ValueError(f"log lines have no such field: {sorted(known.keys() - set(FIELDS))}")
    token = _about.set({**_about.get(), **known})
    try:
        yield
    finally:
        _about.reset(token)


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_fields(),
        }
        # Before the exception itself: what is secret in it is masked here only.
        trouble = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else None)
        if trouble:
            line["exception"] = trouble
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


def write_json_lines(logger: logging.Logger) -> None:
    """Have whatever writes a logger's records write lines of JSON."""
    for handler in logger.handlers:
        handler.setFormatter(JsonLines())


def hush(*names: str) -> None:
    """Have loggers of libraries say what is wrong, and not each thing that they do, unless everything is to be said."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)


def _fields() -> dict[str, str | int]:
    # Some are what a worker says of itself.
    known = {
        name: clean(each, MAX_VALUE_CHARS) if isinstance(each, str) else each for name, each in _about.get().items()
    }
    subject = known.get("reproduction_id", known.get("claim_id"))
    trace_id = trace_id_of(subject) if isinstance(subject, str) else None
    return {**known, "trace_id": trace_id} if trace_id else known


def json_lines() -> dict[str, Any]:
    """The same for a process that takes its logging from a dictionary: what its server says, and others' warnings."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": JsonLines}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["lines"], "level": "WARNING"},
        "loggers": {"uvicorn": {"level": "INFO"}},
    }
