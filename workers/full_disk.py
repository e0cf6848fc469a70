"""Whether a failure is a full disk: told apart, because no model, spec or engine is to blame for it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_CODES = frozenset({errno.ENOSPC, errno.EDQUOT})
# Libraries that are not written in Python hand the system's words on in a plain RuntimeError, without its number. Other
# errors may repeat what a model's or a dataset's author wrote.
_WORDS = tuple(os.strerror(code) for code in sorted(_CODES))
_FULL_BYTES = 2**20
"""With less than this left, a process cannot even write down what became of it."""


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that a disk is full or a quota used up."""
    return any(_says_full(each) for each in _chain(error))


def is_full(folder: Path) -> bool:
    """Whether nothing more can be written to a folder."""
    return shutil.disk_usage(folder).free < _FULL_BYTES


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _CODES
    return type(error) is RuntimeError and any(words in str(error) for words in _WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
