"""One farm at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.farm.errors import FarmError


@contextmanager
def only_one_in(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder`, which is made if it is not there, until the block ends or this process does.

    Raises:
        FarmError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FarmError(f"a {what} runs in {folder} already; stop it, or choose another folder") from error
        yield
