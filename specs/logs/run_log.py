"""Inspect's `.eval` logs, read within limits and each sample once.

The format is a ZIP of JSON files (inspect_ai 0.3.285, `inspect_ai/log/_recorders/eval.py`): `header.json`, and
`samples/<id>_epoch_<n>.json` for each answer, compressed with zstandard. Of files of one name the last counts, as for
all of Inspect's readers and Python's `zipfile`.

Inspect's own `read_eval_log_samples` reads the ZIP's directory anew for every sample, and the sample's whole
transcript: 19 ms a sample where there are 6,000, which take a fifth of a millisecond each here.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

# Also teaches Python's zipfile zstandard.
from inspect_ai.log import EvalLog, EvalSample

from specs.errors import EvidenceError
from specs.measurement import MAX_ID_CHARS
from specs.text import clean

MIB = 2**20

MAX_DIRECTORY_BYTES = 32 * MIB
"""Of the ZIP's directory, which is read as a whole: some 400,000 files. In memory it is nine times as large."""

MAX_FILE_BYTES = 64 * MIB
"""Of one file in the ZIP, unpacked."""

MAX_VALUES = 2_000_000
"""Of JSON in one file: empty lists and objects take some hundred bytes of memory each, and three in the file."""

MAX_UNPACKED_BYTES = 64 * 2**30
"""Of all files that are read."""

# Some thousand times as much can come out of what goes into a decompressor at once.
_PART_BYTES = 4096
# What scores are made of; a sample's input and transcript are long, and nothing in them is measured.
_SAMPLE_FIELDS = ("id", "epoch", "choices", "target", "scores", "error", "output")
_SAMPLES, _JSON = "samples/", ".json"
# A text that never ends goes to the end: else it would be tried anew from each of its quotes, for hours.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
# `zipfile` calls what it has no code for NotImplementedError: a later version of ZIP, say.
_ANY_FAULT = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    LookupError,
    TypeError,
    OSError,
    EOFError,
    RecursionError,
)


@dataclass(frozen=True)
class LogLimits:
    """Limits that are tighter than those of all logs; bytes."""

    directory: int
    file: int
    unpacked: int


class RunLog:
    """A log by its path, or as an open file, which is closed with it. A context manager.

    Every method raises `EvidenceError` where the file is not such a log, or one beyond the limits.
    """

    def __init__(self, log: Path | IO[bytes], limits: LogLimits | None = None) -> None:
        self._limits = limits or LogLimits(MAX_DIRECTORY_BYTES, MAX_FILE_BYTES, MAX_UNPACKED_BYTES)
        self._file = log.open("rb") if isinstance(log, Path) else log
        self._unpacked = 0
        try:
            _check_directory(self._file, self._limits.directory)
            self._zip = zipfile.ZipFile(self._file)
            # A name that is there again replaces what it stood for before: a log that is broken off while it writes
            # ends so, and one whose samples were run again.
            self._names = list(dict.fromkeys(self._zip.namelist()))
        except _ANY_FAULT as error:
            self._file.close()
            raise EvidenceError(f"the log is not a ZIP of Inspect's: {_said(error)}") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._zip.close()
        self._file.close()

    def header(self) -> EvalLog:
        """All but the samples. Only a log that was finished has it."""
        if "header.json" not in self._names:
            raise EvidenceError("the log was not finished: it has no header")
        _, data = self._object("header.json")
        try:
            return EvalLog.model_validate(data)
        except Exception as error:  # beside pydantic's, whatever Inspect's own validators stumble over
            raise EvidenceError(f"the log's header is not Inspect's: {_said(error)}") from error

    def answer_count(self) -> int:
        """How many answers there are, told from the ZIP's directory alone."""
        return len(self._answer_names())

    def answers(self) -> Iterator[EvalSample]:
        """Every sample and epoch once, in the file's order, with `_SAMPLE_FIELDS` alone."""
        for _, answer in self.whole_answers():
            yield answer

    def whole_answers(self) -> Iterator[tuple[bytes, EvalSample]]:
        """The same, each behind the JSON that the log has of it, transcript and all."""
        seen: set[tuple[int | str, int]] = set()
        for name in self._answer_names():
            content, answer = self._answer(name)
            if len(str(answer.id)) > MAX_ID_CHARS:
                raise EvidenceError(f"{clean(name, 100)} of the log has an id of more than {MAX_ID_CHARS} characters")
            if (answer.id, answer.epoch) in seen:
                raise EvidenceError(f"the log holds sample {clean(str(answer.id), 100)} twice for one epoch")
            seen.add((answer.id, answer.epoch))
            yield content, answer

    def summaries(self) -> list[Any]:
        """What the log says of its answers in short, as the JSON values that it has."""
        if "summaries.json" not in self._names:
            raise EvidenceError("the log was not finished: it has no summaries")
        _, found = self._loaded("summaries.json")
        if not isinstance(found, list):
            raise EvidenceError("the log's summaries are not a JSON array")
        return found

    def _answer(self, name: str) -> tuple[bytes, EvalSample]:
        content, data = self._object(name)
        fields = {field: data[field] for field in _SAMPLE_FIELDS if field in data}
        try:
            return content, EvalSample.model_validate({"target": "", **fields, "input": ""})
        except Exception as error:  # beside pydantic's, whatever Inspect's own validators stumble over
            raise EvidenceError(f"{clean(name, 100)} of the log is not a sample of Inspect's") from error

    def _answer_names(self) -> list[str]:
        return [name for name in self._names if name.startswith(_SAMPLES) and name.endswith(_JSON)]

    def _loaded(self, name: str) -> tuple[bytes, Any]:
        """A file of the ZIP, and the JSON value in it."""
        try:
            content = self._read(name)
            if _most_values(content) > MAX_VALUES and _most_values(_TEXT.sub(b"", content)) > MAX_VALUES:
                raise EvidenceError(f"{clean(name, 100)} of the log has more values than this farm reads: {MAX_VALUES}")
            return content, json.loads(content)
        except EvidenceError:
            raise
        except Exception as error:  # each decompressor has errors of its own
            raise EvidenceError(f"{clean(name, 100)} of the log cannot be read: {_said(error)}") from error

    def _object(self, name: str) -> tuple[bytes, dict[str, Any]]:
        content, data = self._loaded(name)
        if not isinstance(data, dict):
            raise EvidenceError(f"{clean(name, 100)} of the log is not a JSON object")
        return content, data

    def _read(self, name: str) -> bytes:
        content = bytearray()
        with self._zip.open(name) as file:
            while part := file.read(_PART_BYTES):
                content += part
                if len(content) > self._limits.file or self._unpacked + len(content) > self._limits.unpacked:
                    bounds = f"{self._limits.file // MIB} MiB a file, {self._limits.unpacked // MIB} MiB in all"
                    raise EvidenceError(f"{clean(name, 100)} of the log is larger than this farm reads: {bounds}")
        self._unpacked += len(content)
        return bytes(content)


def _most_values(content: bytes) -> int:
    """JSON with so many of these characters has no more values, or is none; they may also stand in texts."""
    return 1 + sum(map(content.count, (b",", b"[", b"{")))


def _check_directory(file: IO[bytes], most: int) -> None:
    # zipfile's own look at the end of the file, before it reads the directory into memory; no public name does it.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    size: int = end[5] if end else 0
    if size > most:
        raise EvidenceError(f"the log holds more files than this farm reads: names of {most // MIB} MiB")


def _said(error: Exception) -> str:
    return clean(f"{type(error).__name__}: {error}", 300)
