"""Batches that a worker takes and cannot read, as one does that is of another version than the control plane.

Each was its pool's, and is lost until the control plane looks for it: whoever can read none must not take them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from specs.errors import MessageError
from specs.text import clean
from workers.shared_state import Quarantine, SharedState

IN_A_ROW = 3
"""Of one batch alone its sender may be to blame."""

OUT_FOR = timedelta(minutes=30)
"""Then one batch more is tried: the control plane may be of this version again."""

_HEED_SECONDS = 30.0
_MAX_REASON_CHARS = 1000

_log = logging.getLogger(__name__)


def is_a_batch(message: object) -> bool:
    """Whether it has what batches of every version have; else it is rubbish, which takes no worker out."""
    return isinstance(message, dict) and {"batch_id", "orders"} <= message.keys()


class RefusedBatches:
    """How many there were since the last one that could be read."""

    def __init__(self, shared: Callable[[], SharedState]) -> None:
        self._shared = shared
        self._in_a_row = 0

    def one_was_read(self) -> None:
        """Begin anew."""
        self._in_a_row = 0

    def one_was_refused(self, error: MessageError) -> None:
        """One more; from the third on, the worker takes none for a while."""
        self._in_a_row += 1
        if self._in_a_row < IN_A_ROW:
            return
        reason = (
            f"it could not read the last {self._in_a_row} batches that it took, and takes no more for"
            f" {OUT_FOR.total_seconds() / 60:.0f} minutes: {error}; it should be of the control plane's version"
        )
        _log.error("quarantined: %s", reason)
        until = datetime.now(UTC) + OUT_FOR
        shared = self._shared()
        shared.quarantine(Quarantine(reason=clean(reason, _MAX_REASON_CHARS), free_bytes=0, free_part=0.0, until=until))
        # Else it would take the next before the main process has looked.
        shared.wait_until_heeded(_HEED_SECONDS)
