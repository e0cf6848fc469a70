"""Small lists that the folder keeps as JSON, for people to read and to edit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from deploy.localhub.errors import MisconfiguredError
from specs.processes.atomic_write import write_atomically

T = TypeVar("T", bound=BaseModel)


class ListFile(Generic[T]):
    """A file with a list of entries of one kind, read at every request. Only its owner may read it."""

    def __init__(self, path: Path, entries: TypeAdapter[tuple[T, ...]], called: str) -> None:
        """`called` is what the entries are, in the plural."""
        self._path = path
        self._called = called
        self._entries = entries

    def read(self) -> tuple[T, ...]:
        """Every entry; none where there is no file.

        Raises:
            MisconfiguredError: somebody edited the file into something else.
        """
        if not self._path.is_file():
            return ()
        try:
            return self._entries.validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise MisconfiguredError(f"{self._path.name} is not a list of {self._called}: {error}") from error

    def write(self, entries: Iterable[T]) -> None:
        """Put these in the place of all that are there."""
        lines = [entry.model_dump(mode="json") for entry in entries]
        write_atomically(self._path, json.dumps(lines, indent=2).encode() + b"\n", mode=0o600)
