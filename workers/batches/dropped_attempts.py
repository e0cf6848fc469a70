"""Attempts that the control plane wants no more, as files: from Celery's main process to the one that runs batches.

Remote control commands reach the main process of a worker while its child runs a batch; the child looks here twice a
second.

A mark names the batch that brought the attempt. A farm that is restored from a backup gives numbers of attempts that it
gave before, and whoever was told to drop the earlier one would drop the later one too, which nobody then reports; the
ids of batches are drawn by chance.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from specs.messages import AttemptRef

_FORGOTTEN_AFTER_SECONDS = 7 * 86_400.0


class DroppedAttempts:
    """A folder with one empty file for each dropped attempt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def mark(self, batch_id: str, ref: AttemptRef) -> None:
        """Nothing more is wanted of this attempt, whether it runs, waits or is still to come."""
        self._file(batch_id, ref).touch()

    def has(self, batch_id: str, ref: AttemptRef) -> bool:
        """Whether it was dropped."""
        return self._file(batch_id, ref).exists()

    def tidy(self) -> None:
        """Forget what is so old that no message about it can still be on its way."""
        for file in self._folder.iterdir():
            if time.time() - file.stat().st_mtime > _FORGOTTEN_AFTER_SECONDS:
                file.unlink(missing_ok=True)

    def _file(self, batch_id: str, ref: AttemptRef) -> Path:
        # The ids are somebody else's text; a digest is always a file name.
        name = json.dumps([batch_id, ref.reproduction_id, ref.attempt])
        return self._folder / hashlib.sha256(name.encode()).hexdigest()
