"""Atomic writes of small files, such as those by which processes tell one another something."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace the file in one step: whoever reads it finds the old content or the new. Of several writers one wins.

    Others may do with it what `mode` lets them and the umask does not forbid, from its first byte on.
    """
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(8)}.unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
