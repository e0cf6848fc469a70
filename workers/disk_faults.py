"""Whether a failure is a disk's, full or broken: told apart, because no model, spec or engine is to blame for it."""

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
_BROKEN = frozenset(
    {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EACCES}
)  # fmt: skip
_FULL_BYTES = 2**20
"""With less than this left, a process cannot even write down what became of it."""


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that a disk is full or a quota used up."""
    return any(_says_full(each) for each in _chain(error))


def disk_fault(error: BaseException) -> OSError | None:
    """What this machine's disk or its limits would not do, of an error and those that it came from; None if nothing."""
    return next((each for each in _chain(error) if isinstance(each, OSError) and each.errno in _BROKEN), None)


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
