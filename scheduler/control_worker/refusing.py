"""Messages that are none of this version: refused once in the log, then dropped.

A worker that was upgraded alone is found by its lost leases; retrying its messages would change nothing.
"""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from specs.errors import MessageError
from specs.messages import AttemptsAlive, FetchAhead, Report, WorkerAlive

log = logging.getLogger(__name__)

M = TypeVar("M", AttemptsAlive, FetchAhead, Report, WorkerAlive)


def decoded(kind: type[M], body: dict[str, Any]) -> M | None:
    """The message, or None where it is of another version or shape."""
    try:
        return kind.decode(body)
    except MessageError as error:
        log.error("message refused: %s", error)
        return None
